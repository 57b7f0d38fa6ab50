"""Models, endpoints and the servers behind them."""
