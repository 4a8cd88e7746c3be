"""The bytes of an image: inspected, decoded, marked, signed."""
