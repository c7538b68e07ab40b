"""What is done to a node, one file for each kind; `all_scenarios` names them with the lines that they alone check."""
