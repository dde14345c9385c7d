"""What readers see: tables, figures, and the front end that executes notebooks."""
