"""Values as bytes, and bytes as messages between processes."""
