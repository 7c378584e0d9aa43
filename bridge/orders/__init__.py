"""What WHMCS orders: the package it means, the addresses it takes, the order that a driver gets, and what a change
would do.

No operation is queued here and no back end is asked: that is for services and recipes.
"""
