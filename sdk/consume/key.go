package consume

import (
	"fmt"
	"strings"

	"github.com/cdcd-io/cdcd/sdk"
)

// Key is the key of a row in a bucket that the sink kv keeps.
type Key struct {
	DB, Table string
	// Values are those of the primary key's columns, in the key's order, as text
	// that is exact: numbers in decimal, dates and times in ISO 8601, and the bytes
	// of texts and binary columns as they are.
	Values []string
}

// ParseKey reads such as "shop.orders.17".
func ParseKey(key string) (Key, error) {
	tokens := strings.Split(key, ".")
	if len(tokens) < 3 {
		return Key{}, fmt.Errorf("key %.100q: want db.table.value", key)
	}
	for i, token := range tokens {
		value, ok := sdk.ParseKeyToken(token)
		if !ok {
			return Key{}, fmt.Errorf("key %.100q: %.100q stands for no value", key, token)
		}
		tokens[i] = value
	}
	return Key{tokens[0], tokens[1], tokens[2:]}, nil
}

// String returns the key as it is in the bucket: what a service asks for that
// wants one row.
func (k Key) String() string {
	b := sdk.AppendKeyTable(nil, k.DB, k.Table)
	for i, v := range k.Values {
		if i > 0 {
			b = append(b, '.')
		}
		b = sdk.AppendKeyToken(b, []byte(v))
	}
	return string(b)
}
