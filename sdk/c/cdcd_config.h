/* cdcd_config.h: reads a connector's configuration, a flat JSON object. It is a
 * part of cdcd.h, which includes it.
 */
#ifndef CDCD_CONFIG_H
#define CDCD_CONFIG_H

/* A member of an object. */
typedef struct {
	cdcd_text key;   /* unescaped */
	uint8_t kind;    /* '"' text, '0' number, 't' true, 'f' false, 'n' null, '{' or '[' */
	cdcd_text value; /* text unescaped, everything else as it is written */
} cdcd_member;

static inline bool cdcd_space_(uint8_t c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }

static inline const uint8_t *cdcd_skip_(const uint8_t *p, const uint8_t *end) {
	while (p < end && cdcd_space_(*p))
		p++;
	return p;
}

static inline uint32_t cdcd_hex_(const uint8_t *p) {
	uint32_t v = 0;
	for (int i = 0; i < 4; i++) {
		uint8_t c = p[i];
		v = v << 4 | (uint32_t)(c <= '9' ? c - '0' : (c | 32) - 'a' + 10);
	}
	return v;
}

/* Reads a string behind its opening quote and unescapes it where it lies: it
 * only becomes shorter. Returns what is behind it, or NULL. */
CDCD_OUTLINE const uint8_t *cdcd_string_(const uint8_t *p, const uint8_t *end, cdcd_text *out) {
	uint8_t *to = (uint8_t *)p;
	out->at = to;
	while (p < end && *p != '"') {
		if (*p != '\\') {
			*to++ = *p++;
			continue;
		}
		if (end - p < 2)
			return NULL;
		uint8_t c = p[1];
		p += 2;
		if (c != 'u') {
			*to++ = c == 'n' ? '\n' : c == 't' ? '\t' : c == 'r' ? '\r' : c == 'b' ? '\b' : c == 'f' ? '\f' : c;
			continue;
		}
		if (end - p < 4)
			return NULL;
		uint32_t v = cdcd_hex_(p);
		p += 4;
		if (v >> 10 == 0x36 && end - p >= 6 && p[0] == '\\' && p[1] == 'u') { /* a pair of surrogates */
			v = 0x10000 + ((v & 0x3ff) << 10) + (cdcd_hex_(p + 2) & 0x3ff);
			p += 6;
		}
		if (v < 0x80) {
			*to++ = (uint8_t)v;
		} else if (v < 0x800) {
			*to++ = (uint8_t)(0xc0 | v >> 6);
			*to++ = (uint8_t)(0x80 | (v & 63));
		} else if (v < 0x10000) {
			*to++ = (uint8_t)(0xe0 | v >> 12);
			*to++ = (uint8_t)(0x80 | (v >> 6 & 63));
			*to++ = (uint8_t)(0x80 | (v & 63));
		} else {
			*to++ = (uint8_t)(0xf0 | v >> 18);
			*to++ = (uint8_t)(0x80 | (v >> 12 & 63));
			*to++ = (uint8_t)(0x80 | (v >> 6 & 63));
			*to++ = (uint8_t)(0x80 | (v & 63));
		}
	}
	out->len = (uint32_t)(to - out->at);
	return p < end ? p + 1 : NULL;
}

/* Reads the next member of the object that *rest begins in, and moves *rest
 * behind it. false: there is none, or what is there is no JSON. The host has
 * checked that the configuration is an object. Texts are unescaped where they
 * lie, so that an object is read once.
 *
 *     cdcd_text rest = config;
 *     cdcd_member m;
 *     while (cdcd_next(&rest, &m)) ...
 */
CDCD_OUTLINE bool cdcd_next(cdcd_text *rest, cdcd_member *m) {
	const uint8_t *p = rest->at, *end = rest->at + rest->len;
	p = cdcd_skip_(p, end);
	if (p < end && (*p == '{' || *p == ','))
		p = cdcd_skip_(p + 1, end);
	if (p >= end || *p != '"' || !(p = cdcd_string_(p + 1, end, &m->key)))
		return false;
	p = cdcd_skip_(p, end);
	if (p >= end || *p != ':')
		return false;
	p = cdcd_skip_(p + 1, end);
	if (p >= end)
		return false;
	m->kind = *p == '-' || (*p >= '0' && *p <= '9') ? '0' : *p;
	m->value.at = p;
	if (*p == '"') {
		if (!(p = cdcd_string_(p + 1, end, &m->value)))
			return false;
	} else {
		for (uint32_t depth = 0; p < end; p++) {
			if (*p == '"') {
				while (++p < end && *p != '"')
					p += *p == '\\';
			} else if (*p == '{' || *p == '[') {
				depth++;
			} else if (*p == '}' || *p == ']' || *p == ',') {
				if (depth == 0)
					break;
				depth -= *p != ',';
			}
		}
		m->value.len = (uint32_t)(p - m->value.at);
		while (m->value.len && cdcd_space_(m->value.at[m->value.len - 1]))
			m->value.len--;
	}
	rest->at = p;
	rest->len = (uint32_t)(end - p);
	return true;
}

/* The value of a member that is a whole number from 0 to 4294967295. */
CDCD_OUTLINE bool cdcd_whole(const cdcd_member *m, uint32_t *out) {
	uint64_t v = 0;
	for (uint32_t i = 0; i < m->value.len; i++) {
		uint8_t c = m->value.at[i];
		if (c < '0' || c > '9' || (v = v * 10 + (c - '0')) > UINT32_MAX)
			return false;
	}
	*out = (uint32_t)v;
	return m->kind == '0';
}

#endif
