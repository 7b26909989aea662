"""PostgreSQL: transactions, and the schema's migrations."""

from pacsops.database.pool import Database, Transaction

__all__ = ["Database", "Transaction"]
