"""Tables: all that a solver may ask of the data, one file a layout and device."""
