"""What a person or a program reads: diagrams, arguments, verdict blocks, tables, JSON; all of it returned as text."""
