"""Who answers for zones: PTR, A and AAAA. One module per provider, found by its name; `contract.py` says what each
does."""
