"""The bytes of an image: inspected, decoded, given their metadata, signed."""
