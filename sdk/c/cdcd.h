/* cdcd.h: what a connector written in C includes.
 *
 * Headers alone, nothing to link, no libc. It speaks cdcd-abi-1 with the host
 * (docs/design/connector-abi.md, docs/design/batch-layout.md), so that a
 * connector is three functions, which its author writes:
 *
 *     int64_t      connector_init(cdcd_text config);
 *     int64_t      connector_schema(const cdcd_table *t);
 *     cdcd_verdict connector_row(cdcd_row r);
 *
 * Include it in one file of the module: it defines the exports. What a
 * connector keeps in its variables lasts as long as its instance and no longer;
 * a new instance may take over at any batch.
 */
#ifndef CDCD_H
#define CDCD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Text and bytes: a view, not terminated. */
typedef struct {
	const uint8_t *at;
	uint32_t len;
} cdcd_text;

/* What becomes of a row. */
typedef enum {
	CDCD_PASS = 0,        /* it goes on as it came */
	CDCD_DROP = 1,        /* it is left out */
	CDCD_EDITED = 2,      /* it was changed through cdcd_set_... */
	CDCD_DEAD_LETTER = 4, /* refused: return cdcd_refuse() */
	CDCD_FULL = 255       /* a setter found no room: the row comes again with more */
} cdcd_verdict;

/* Why a connector can't go on at all: it stops the pipeline. */
typedef enum {
	CDCD_BAD_CONFIG = -1,
	CDCD_BAD_SCHEMA = -2,
	CDCD_BAD_BATCH = -3,
	CDCD_INTERNAL = -4
} cdcd_code;

typedef enum {
	CDCD_INSERT = 1,
	CDCD_UPDATE = 2,
	CDCD_DELETE = 3,
	CDCD_READ = 4, /* a snapshot read the row */
	CDCD_TRUNCATE = 5
} cdcd_op;

/* Types of columns: docs/design/batch-layout.md says what their slots hold.
 * Those from CDCD_ENUM on, and CDCD_DECIMAL, have their values in the heap. */
typedef enum {
	CDCD_INT = 1, CDCD_UINT, CDCD_FLOAT32, CDCD_FLOAT64, CDCD_DECIMAL, CDCD_BIT, CDCD_YEAR,
	CDCD_DATE, CDCD_TIME, CDCD_DATETIME, CDCD_TIMESTAMP, CDCD_ENUM, CDCD_SET, CDCD_STRING,
	CDCD_BYTES, CDCD_JSON, CDCD_GEOMETRY, CDCD_VECTOR, CDCD_UUID, CDCD_INET
} cdcd_type;

/* A table's definition: views, good within connector_schema. */
typedef struct {
	uint32_t id; /* what its rows name: dense, and of no meaning outside this run */
	cdcd_text db, name;
	uint32_t columns;
	const uint8_t *first; /* the first column, encoded */
} cdcd_table;

/* One column of it. */
typedef struct {
	uint32_t index;
	cdcd_text name;
	cdcd_type type;
	bool nullable;
	uint8_t scale;
	uint32_t length;
	cdcd_text native; /* the type as the database has it */
} cdcd_column;

/* A row of the batch in hand, and one image of it: views. */
typedef struct {
	uint8_t *at;
	uint32_t columns;
	uint32_t number; /* in the batch */
} cdcd_row;

typedef struct {
	uint8_t *at; /* NULL if the row has no such image */
	uint32_t columns;
} cdcd_image;

/* ---- what the author writes ------------------------------------------- */

/* Called once with the JSON under `with:`, "{}" when there is none. The text
 * stays where it is. Returns 0, or cdcd_fail(CDCD_BAD_CONFIG). */
int64_t connector_init(cdcd_text config);

/* Called for every table before its first row. Returns 0: the rows that the
 * connector gives have the same columns; or cdcd_fail(CDCD_BAD_SCHEMA); or the
 * encoding of other columns as cdcd_pack(address, length). */
int64_t connector_schema(const cdcd_table *t);

/* Decides about one row. */
cdcd_verdict connector_row(cdcd_row r);

/* What is not needed for each row is not worth its size inlined. */
#define CDCD_OUTLINE static __attribute__((noinline, unused))

/* ---- memory ------------------------------------------------------------ */

extern uint8_t __heap_base; /* the linker's: where the module's own data ends */

static struct {
	uint32_t top; /* of what is given out; 0 at the start */
	uint8_t *bufs[3];
	uint32_t sizes[3];
	uint8_t *batch;
	uint8_t *verdicts, *reasons;
	uint32_t verdicts_size, reasons_size, reasons_len;
	uint32_t *kept;
	uint32_t kept_size;
	uint32_t result[8];
	uint8_t message[4096];
	uint32_t message_len;
} cdcd_;

/* Memory that stays as long as the instance: there is no free. 16-aligned, zero. */
CDCD_OUTLINE void *cdcd_alloc(uint32_t size) {
	if (cdcd_.top == 0)
		cdcd_.top = ((uint32_t)(uintptr_t)&__heap_base + 15) & ~15u;
	uint64_t end = ((uint64_t)cdcd_.top + size + 15) & ~15ull;
	uint64_t have = (uint64_t)__builtin_wasm_memory_size(0) << 16;
	if (end > have) {
		uint32_t pages = (uint32_t)((end - have + 0xffff) >> 16);
		if (end > 0x7fffffff || __builtin_wasm_memory_grow(0, pages) == (size_t)-1)
			__builtin_trap(); /* the host says that memory was refused */
	}
	uint8_t *p = (uint8_t *)(uintptr_t)cdcd_.top;
	cdcd_.top = (uint32_t)end;
	return p;
}

static inline void cdcd_copy(void *to, const void *from, uint32_t n) {
	__builtin_memcpy(to, from, n); /* memory.copy, with -mbulk-memory */
}

/* A buffer that can hold size bytes, with the first keep bytes of the one
 * before. Sizes double, so that what is given up is never more than what is in use. */
CDCD_OUTLINE uint8_t *cdcd_grow(uint8_t *p, uint32_t *have, uint32_t size, uint32_t keep) {
	if (size <= *have)
		return p;
	uint32_t n = 4096;
	while (n < size)
		n *= 2;
	uint8_t *q = cdcd_alloc(n);
	if (keep)
		cdcd_copy(q, p, keep);
	*have = n;
	return q;
}

static inline uint32_t cdcd_u32(const uint8_t *p) { return *(const uint32_t *)p; }
static inline uint64_t cdcd_u64(const uint8_t *p) { return *(const uint64_t *)p; }

/* An address and a length as the ABI's calls return them. */
static inline int64_t cdcd_pack(const void *at, uint32_t len) {
	return (int64_t)((uint64_t)(uint32_t)(uintptr_t)at << 32 | len);
}

/* ---- text and messages -------------------------------------------------- */

/* CDCD_LITERAL("name") is a literal as a text. */
#define CDCD_LITERAL(s) ((cdcd_text){(const uint8_t *)(s), sizeof(s) - 1})

CDCD_OUTLINE bool cdcd_equal(cdcd_text a, cdcd_text b) {
	if (a.len != b.len)
		return false;
	for (uint32_t i = 0; i < a.len; i++)
		if (a.at[i] != b.at[i])
			return false;
	return true;
}

/* cdcd_say adds to the message that cdcd_refuse or cdcd_fail then sends. A
 * good one is a sentence that names the place and the way out. */
CDCD_OUTLINE void cdcd_say(cdcd_text t) {
	for (uint32_t i = 0; i < t.len && cdcd_.message_len < sizeof cdcd_.message; i++)
		cdcd_.message[cdcd_.message_len++] = t.at[i];
}

CDCD_OUTLINE void cdcd_say_number(uint64_t n) {
	uint8_t digits[20];
	uint32_t at = sizeof digits;
	do
		digits[--at] = (uint8_t)('0' + n % 10);
	while (n /= 10);
	cdcd_say((cdcd_text){digits + at, sizeof digits - at});
}

#define CDCD_SAY(s) cdcd_say(CDCD_LITERAL(s))

/* Sends what was said as the text of an error: `return cdcd_fail(CDCD_BAD_CONFIG);`. */
static inline int64_t cdcd_fail(cdcd_code code) { return code; }

static inline void cdcd_put_u32(uint8_t *p, uint32_t v) { __builtin_memcpy(p, &v, 4); }

/* Refuses the row in hand for what was said: `return cdcd_refuse();`. */
static inline cdcd_verdict cdcd_refuse(void) { return CDCD_DEAD_LETTER; }

#include "cdcd_config.h"

/* ---- tables ------------------------------------------------------------- */

static inline const uint8_t *cdcd_text_(const uint8_t *p, cdcd_text *out) {
	__builtin_memcpy(&out->len, p, 4);
	out->at = p + 4;
	return p + 4 + out->len;
}

/* Reads the column at p, which is t->first or what this returned, and returns
 * where the next one is.
 *
 *     const uint8_t *p = t->first;
 *     for (uint32_t i = 0; i < t->columns; i++) {
 *         cdcd_column c;
 *         p = cdcd_next_column(p, &c);
 */
CDCD_OUTLINE const uint8_t *cdcd_next_column(const uint8_t *p, cdcd_column *c) {
	p = cdcd_text_(p, &c->name);
	c->type = (cdcd_type)p[0];
	c->nullable = p[1];
	c->scale = p[2];
	__builtin_memcpy(&c->length, p + 4, 4);
	p = cdcd_text_(p + 8, &c->native);
	uint32_t labels;
	__builtin_memcpy(&labels, p, 4);
	for (p += 4; labels > 0; labels--) {
		cdcd_text label;
		p = cdcd_text_(p, &label);
	}
	return p;
}

/* Finds a column by its name. */
CDCD_OUTLINE bool cdcd_find_column(const cdcd_table *t, cdcd_text name, cdcd_column *c) {
	const uint8_t *p = t->first;
	for (uint32_t i = 0; i < t->columns; i++) {
		p = cdcd_next_column(p, c);
		c->index = i;
		if (cdcd_equal(c->name, name))
			return true;
	}
	return false;
}

/* Reports whether a column's slots refer to the heap. */
static inline bool cdcd_in_heap(cdcd_type t) { return t == CDCD_DECIMAL || t >= CDCD_ENUM; }

/* cdcd_keep notes a number for a table, such as the index of a column and 1;
 * cdcd_kept returns it for a row, 0 if none was noted. */
CDCD_OUTLINE void cdcd_keep(const cdcd_table *t, uint32_t v) {
	cdcd_.kept = (uint32_t *)cdcd_grow((uint8_t *)cdcd_.kept, &cdcd_.kept_size, 4 * t->id + 4, cdcd_.kept_size);
	cdcd_.kept[t->id] = v;
}

static inline uint32_t cdcd_kept(cdcd_row r) {
	uint32_t id = cdcd_u32(r.at + 4);
	return 4 * id < cdcd_.kept_size ? cdcd_.kept[id] : 0;
}

/* ---- rows ----------------------------------------------------------------- */

static inline cdcd_op cdcd_row_op(cdcd_row r) { return (cdcd_op)r.at[0]; }

/* The id of the row's table. */
static inline uint32_t cdcd_row_table(cdcd_row r) { return cdcd_u32(r.at + 4); }

static inline uint32_t cdcd_words_(uint32_t columns) { return (columns + 63) / 64 * 8; }

static inline uint8_t *cdcd_changed_(cdcd_row r) { return r.at + 32 + (r.at[1] & 4 ? 24 : 0); }

static inline bool cdcd_bit_(const uint8_t *mask, uint32_t c) { return mask[c / 8] >> (c % 8) & 1; }

/* Reports whether an update changed the column: of rows with both images. */
static inline bool cdcd_changed(cdcd_row r, uint32_t c) { return cdcd_bit_(cdcd_changed_(r), c); }

/* The image after the change: none in a delete. */
static inline cdcd_image cdcd_after(cdcd_row r) {
	uint8_t *p = cdcd_changed_(r) + cdcd_words_(r.columns);
	return (cdcd_image){r.at[1] & 2 ? p : NULL, r.columns};
}

/* The image before the change: none in an insert. */
static inline cdcd_image cdcd_before(cdcd_row r) {
	uint8_t *p = cdcd_changed_(r) + cdcd_words_(r.columns);
	if (r.at[1] & 2)
		p += 2 * cdcd_words_(r.columns) + 8 * r.columns;
	return (cdcd_image){r.at[1] & 1 ? p : NULL, r.columns};
}

static inline bool cdcd_is_null(cdcd_image m, uint32_t c) { return cdcd_bit_(m.at, c); }

/* Absent: the log does not tell the value. Not the same as NULL. */
static inline bool cdcd_is_absent(cdcd_image m, uint32_t c) { return cdcd_bit_(m.at + cdcd_words_(m.columns), c); }

/* Reports whether the column has a value: neither NULL nor absent. */
static inline bool cdcd_has(cdcd_image m, uint32_t c) { return !cdcd_is_null(m, c) && !cdcd_is_absent(m, c); }

static inline uint8_t *cdcd_slot_(cdcd_image m, uint32_t c) { return m.at + 2 * cdcd_words_(m.columns) + 8 * c; }

/* The raw slot: the value of an inline type. */
static inline uint64_t cdcd_slot(cdcd_image m, uint32_t c) { return cdcd_u64(cdcd_slot_(m, c)); }
static inline int64_t cdcd_int(cdcd_image m, uint32_t c) { return (int64_t)cdcd_slot(m, c); }
static inline double cdcd_float(cdcd_image m, uint32_t c) { return *(const double *)cdcd_slot_(m, c); }

/* Reports whether a value of a heap type is over 64 KiB and lives beside the
 * batch, where it can't be read, and how long it is. */
static inline bool cdcd_is_large(cdcd_image m, uint32_t c, uint32_t *len) {
	uint32_t n = cdcd_u32(cdcd_slot_(m, c) + 4);
	*len = n & 0x7fffffff;
	return n >> 31;
}

/* The value of a heap type that is not large: a view. It is never written to;
 * a new value is appended. */
static inline cdcd_text cdcd_bytes(cdcd_image m, uint32_t c) {
	const uint8_t *s = cdcd_slot_(m, c);
	return (cdcd_text){cdcd_.batch + cdcd_u32(s), cdcd_u32(s + 4)};
}

static inline void cdcd_clear_(uint8_t *mask, uint32_t c) { mask[c / 8] &= (uint8_t)~(1u << (c % 8)); }

/* Gives the column an inline value. */
static inline void cdcd_set_slot(cdcd_image m, uint32_t c, uint64_t v) {
	cdcd_clear_(m.at, c);
	cdcd_clear_(m.at + cdcd_words_(m.columns), c);
	*(uint64_t *)cdcd_slot_(m, c) = v;
}

/* Makes the column SQL NULL. */
static inline void cdcd_set_null(cdcd_image m, uint32_t c) {
	cdcd_set_slot(m, c, 0);
	m.at[c / 8] |= (uint8_t)(1u << (c % 8));
}

/* Gives the column a heap value of len bytes, which the caller then writes to
 * where it points. NULL: there is no room; return CDCD_FULL. */
static inline uint8_t *cdcd_set_room(cdcd_image m, uint32_t c, uint32_t len) {
	uint32_t size = cdcd_u32(cdcd_.batch + 12), capacity = cdcd_u32(cdcd_.batch + 16);
	if (len > capacity - size)
		return NULL;
	cdcd_set_slot(m, c, (uint64_t)len << 32 | size);
	cdcd_put_u32(cdcd_.batch + 12, size + len);
	return cdcd_.batch + size;
}

/* Gives the column a copy of v. false: there is no room; return CDCD_FULL. */
static inline bool cdcd_set_bytes(cdcd_image m, uint32_t c, cdcd_text v) {
	uint8_t *p = cdcd_set_room(m, c, v.len);
	if (p)
		cdcd_copy(p, v.at, v.len);
	return p != NULL;
}

/* ---- the exports of cdcd-abi-1 ---------------------------------------------- */

#define CDCD_EXPORT(name) __attribute__((export_name(name), used))

CDCD_EXPORT("cdcd_abi_1") void cdcd_abi_1(void) {}

CDCD_EXPORT("cdcd_buf") uint8_t *cdcd_buf(uint32_t kind, uint32_t size) {
	if (kind > 2)
		return NULL;
	cdcd_.bufs[kind] = cdcd_grow(cdcd_.bufs[kind], &cdcd_.sizes[kind], size, 0);
	return cdcd_.bufs[kind];
}

CDCD_EXPORT("cdcd_init") int64_t cdcd_init(uint32_t len) {
	cdcd_.message_len = 0;
	return connector_init((cdcd_text){cdcd_.bufs[0], len});
}

CDCD_EXPORT("cdcd_schema") int64_t cdcd_schema(uint32_t len) {
	(void)len; /* the host vouches for what is in its encoding */
	cdcd_table t = {.id = cdcd_u32(cdcd_.bufs[1])};
	const uint8_t *p = cdcd_text_(cdcd_text_(cdcd_.bufs[1] + 4, &t.db), &t.name);
	__builtin_memcpy(&t.columns, p, 4);
	t.first = p + 4;
	cdcd_.message_len = 0;
	return connector_schema(&t);
}

/* Keeps what was said of a refused row: u32 row, u32 length, text. */
CDCD_OUTLINE void cdcd_file_reason_(uint32_t row) {
	uint32_t n = cdcd_.message_len < 1024 ? cdcd_.message_len : 1024, at = cdcd_.reasons_len;
	cdcd_.reasons = cdcd_grow(cdcd_.reasons, &cdcd_.reasons_size, at + 8 + n, at);
	cdcd_put_u32(cdcd_.reasons + at, row);
	cdcd_put_u32(cdcd_.reasons + at + 4, n);
	cdcd_copy(cdcd_.reasons + at + 8, cdcd_.message, n);
	cdcd_.reasons_len = at + 8 + n;
}

CDCD_EXPORT("cdcd_transform") int64_t cdcd_transform(uint32_t len) {
	(void)len; /* the header has it */
	uint8_t *b = cdcd_.batch = cdcd_.bufs[2];
	cdcd_.message_len = cdcd_.reasons_len = 0;
	if (cdcd_u32(b) != 0x31424443 || *(uint16_t *)(b + 4) != 1) {
		CDCD_SAY("the bytes are no batch of cdcd-abi-1");
		return cdcd_fail(CDCD_BAD_BATCH);
	}
	uint32_t rows = cdcd_u32(b + 20), first = cdcd_u32(b + 40), row = first, want = 0;
	const uint8_t *dir = b + cdcd_u32(b + 24);
	cdcd_.verdicts = cdcd_grow(cdcd_.verdicts, &cdcd_.verdicts_size, rows - first, 0);
	for (; row < rows; row++) {
		uint8_t *at = b + cdcd_u32(dir + 4 * row);
		cdcd_verdict v = connector_row((cdcd_row){at, cdcd_u32(at + 24), row});
		if (v == CDCD_FULL) {
			want = 2 * cdcd_u32(b + 16);
			break;
		}
		if (v == CDCD_DEAD_LETTER) {
			cdcd_file_reason_(row);
			cdcd_.message_len = 0;
		}
		cdcd_.verdicts[row - first] = (uint8_t)v;
	}
	uint32_t *r = cdcd_.result;
	r[0] = row;
	r[1] = (uint32_t)(uintptr_t)cdcd_.verdicts;
	r[2] = row - first;
	r[3] = r[4] = 0; /* no rows in place of others */
	r[5] = (uint32_t)(uintptr_t)cdcd_.reasons;
	r[6] = cdcd_.reasons_len;
	r[7] = want;
	return cdcd_pack(r, sizeof cdcd_.result);
}

CDCD_EXPORT("cdcd_error") int64_t cdcd_error(void) { return cdcd_pack(cdcd_.message, cdcd_.message_len); }

#endif
