"""Tables of any size, scored in parts that a killed run keeps."""
