"""What a client's account costs, as pure functions of an Account: today is in it, nothing is read or stored. Rates are
exact fractions, rounded once where they are shown; amounts are Decimals to the cent."""
