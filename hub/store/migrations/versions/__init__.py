"""One revision a file: a number, a name, and beside it the SQL."""
