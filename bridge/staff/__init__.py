"""What staff watches over: findings, servers with their maintenance and offers, and the doctor. Nothing of the
customer's pages."""
