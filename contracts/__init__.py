"""Whatever two parties of the exchange must compute alike: bytes in, values out, no input or output of its own."""
