"""Records in DNS zones of the operator's: which a service shall have, and writing them."""
