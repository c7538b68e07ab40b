"""Whole nodes under the loads of a platform: paced tokens, storms, idle crowds, bad neighbours, coming and going."""
