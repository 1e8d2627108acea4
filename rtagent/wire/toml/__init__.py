"""TOML files that people write: text to checked values, and what is wrong to file, line, key and remedy."""
