"""What only the operator of the exchange runs: intake, relay, deadlines, API and the store behind them."""
