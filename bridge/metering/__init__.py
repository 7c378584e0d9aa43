"""What machines do and use: their live state, and the usage that WHMCS bills. Nothing here changes a machine."""
