"""Lists of the outside world, frozen and hashed: countries, currencies, holidays."""
