package keyvalue

import "github.com/cdcd-io/cdcd/sdk"

// KeyBytesMax is the most that a row's key may take. NATS limits the line that
// a subject is on to 4,096 bytes, and there is more on it than the key.
const KeyBytesMax = 3000

// appendKey appends the key of the image: its table, and a token for each column
// of the primary key.
func (f *Format) appendKey(dst []byte, t *table, m sdk.Image) []byte {
	dst = append(dst, t.prefix...)
	for i, c := range t.schema.Key {
		if i > 0 {
			dst = append(dst, '.')
		}
		f.value = m.AppendText(f.value[:0], &t.schema.Columns[c], c)
		dst = sdk.AppendKeyToken(dst, f.value)
	}
	return dst
}
