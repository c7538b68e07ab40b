"""How many events a server delivers for a second of its CPU, callboard's whole node beside what others serve with."""
