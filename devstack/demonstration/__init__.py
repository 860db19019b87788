"""The parts of the demo: cast, stage, troubles, observation, ledger, report."""
