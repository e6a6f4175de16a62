"""What is to be signed is judged before the key is touched: pkilint, zlint and checks of our own."""
