package schema

// tableOption reads one option of a table; done says that partitions begin.
// What is no option makes ok false.
func (r *reader) tableOption(c *choice) (done, ok bool) {
	if r.is("default") && !isWord(r.ahead, "charset", "character", "char", "collate") {
		return false, false
	}
	r.take("default")
	switch {
	case r.charsetWords():
		r.punct('=')
		*c = r.charsetName()
	case r.take("collate"):
		r.punct('=')
		c.merge(r.collation())
	case r.is("partition"):
		return true, !r.bad
	case r.seq("start", "transaction"): // rows follow
	case r.seq("data", "directory"), r.seq("index", "directory"):
		r.punct('=')
		r.text()
	case r.take("union"):
		r.punct('=')
		r.parens()
	case r.take("tablespace"):
		r.punct('=')
		r.ident()
		if r.take("storage") {
			r.ident()
		}
	case r.take("engine", "type", "auto_increment", "avg_row_length", "checksum", "table_checksum", "comment", "compression",
		"connection", "delay_key_write", "encryption", "insert_method", "key_block_size", "max_rows", "min_rows",
		"pack_keys", "password", "row_format", "stats_auto_recalc", "stats_persistent", "stats_sample_pages",
		"storage", "engine_attribute", "secondary_engine_attribute", "secondary_engine", "autoextend_size",
		"page_checksum", "transactional", "sequence", "page_compressed", "page_compression_level",
		"encrypted", "encryption_key_id", "ietf_quotes", "raid_type", "raid_chunks", "raid_chunksize", "table_type"):
		r.punct('=')
		r.optionValue()
	case r.maria && (r.t.kind == tokenWord || r.t.kind == tokenQuoted) && r.ahead.kind == tokenOther && r.ahead.text == "=":
		r.next() // an engine's own
		r.next()
		r.optionValue()
	default:
		return false, false
	}
	return false, !r.bad
}

func (r *reader) optionValue() {
	switch r.t.kind {
	case tokenString:
		r.text()
	case tokenWord, tokenQuoted, tokenHex:
		r.next()
	default:
		r.fail()
	}
}
