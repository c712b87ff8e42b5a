"""The whole as it is operated: separate processes on PostgreSQL, and what must never leave any of them."""
