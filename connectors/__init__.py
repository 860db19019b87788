"""Software at each agency: it translates, stores durably, signs, publishes; verifies, delivers, acknowledges."""
