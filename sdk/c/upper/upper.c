/* upper makes the ASCII letters of one text column upper case: the worked
 * connector of sdk/c. It is the same in every language of the SDK, and all of
 * them pass the cases in sdk/guest/upper/testdata.
 */
#include "../cdcd.h"

static struct {
	cdcd_text column; /* whose letters become upper case */
	cdcd_text drop;   /* rows with this value are left out; at NULL: none are */
	uint32_t bytes_max; /* rows with a longer value are refused; 0: none are */
} with;

int64_t connector_init(cdcd_text config) {
	cdcd_text rest = config;
	cdcd_member m;
	while (cdcd_next(&rest, &m)) {
		if (cdcd_equal(m.key, CDCD_LITERAL("column")) && m.kind == '"') {
			with.column = m.value;
		} else if (cdcd_equal(m.key, CDCD_LITERAL("drop")) && m.kind == '"') {
			with.drop = m.value;
		} else if (!cdcd_equal(m.key, CDCD_LITERAL("bytes_max")) || !cdcd_whole(&m, &with.bytes_max)) {
			cdcd_say(m.key);
			CDCD_SAY(" is not understood; write {column: name, drop: text, bytes_max: number}");
			return cdcd_fail(CDCD_BAD_CONFIG);
		}
	}
	if (with.column.len == 0) {
		CDCD_SAY("column is missing; name the one to make upper case, as in {column: name}");
		return cdcd_fail(CDCD_BAD_CONFIG);
	}
	return 0;
}

int64_t connector_schema(const cdcd_table *t) {
	cdcd_column c;
	if (!cdcd_find_column(t, with.column, &c)) {
		cdcd_keep(t, 0);
		return 0;
	}
	if (c.type != CDCD_STRING) {
		cdcd_say(t->db);
		CDCD_SAY(".");
		cdcd_say(t->name);
		CDCD_SAY(".");
		cdcd_say(c.name);
		CDCD_SAY(" is not a string; name a column that is one");
		return cdcd_fail(CDCD_BAD_SCHEMA);
	}
	cdcd_keep(t, c.index + 1);
	return 0;
}

static bool lower(uint8_t c) { return c >= 'a' && c <= 'z'; }

/* The verdict about one image. */
static cdcd_verdict image(cdcd_image m, uint32_t c) {
	uint32_t large;
	if (m.at == NULL || !cdcd_has(m, c))
		return CDCD_PASS;
	if (cdcd_is_large(m, c, &large)) {
		cdcd_say(with.column);
		CDCD_SAY(" has ");
		cdcd_say_number(large);
		CDCD_SAY(" bytes, too many to read");
		return cdcd_refuse();
	}
	cdcd_text v = cdcd_bytes(m, c);
	if (with.drop.at && cdcd_equal(v, with.drop))
		return CDCD_DROP;
	if (with.bytes_max && v.len > with.bytes_max) {
		cdcd_say(with.column);
		CDCD_SAY(" has ");
		cdcd_say_number(v.len);
		CDCD_SAY(" bytes, more than ");
		cdcd_say_number(with.bytes_max);
		return cdcd_refuse();
	}
	uint32_t at = 0;
	while (at < v.len && !lower(v.at[at]))
		at++;
	if (at == v.len)
		return CDCD_PASS;
	uint8_t *p = cdcd_set_room(m, c, v.len);
	if (p == NULL)
		return CDCD_FULL;
	for (uint32_t i = 0; i < v.len; i++)
		p[i] = lower(v.at[i]) ? v.at[i] - 32 : v.at[i];
	return CDCD_EDITED;
}

cdcd_verdict connector_row(cdcd_row r) {
	uint32_t c = cdcd_kept(r);
	if (c == 0)
		return CDCD_PASS;
	cdcd_verdict after = image(cdcd_after(r), c - 1);
	if (after != CDCD_PASS && after != CDCD_EDITED)
		return after;
	cdcd_verdict before = image(cdcd_before(r), c - 1);
	return before == CDCD_PASS ? after : before;
}
