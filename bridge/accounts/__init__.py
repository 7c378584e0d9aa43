"""A client's account at WHMCS as the dashboard reads it: `columns` is the wire's shape, `nouns` the frozen data,
`wire` turns the first into the second."""
