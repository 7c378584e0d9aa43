"""Thin routes: authenticate, load, call one function, dump. No SQL, no upstream calls."""
