package scan

// ChunkStatement is the statement that reads a chunk, for EXPLAIN.
func (t *Table) ChunkStatement(r Range) (string, error) {
	s, err := t.span(r)
	return t.statement(s, r.RowsMax), err
}

// BoundaryStatement is the statement that looks for a boundary.
func (t *Table) BoundaryStatement(r Range) (string, error) {
	s, err := t.span(r)
	return string(t.keyStatement(s, false)), err
}
