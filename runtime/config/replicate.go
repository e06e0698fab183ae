package config

import (
	"reflect"
	"strings"
	"time"

	"github.com/cdcd-io/cdcd/internal/unit"
)

// state reads the state's keys. What is checked of a place in an object store
// here is its form; the store itself is met when the daemon starts.
func (l *loader) state(n *node, c *Config) {
	at := n.child("replicate")
	if at != nil && at.kind != nullNode {
		c.State.Replicate = defaultReplicate()
	}
	if at == nil || !at.isScalar() {
		l.decode(n, reflect.ValueOf(&c.State).Elem())
	} else {
		var keys struct {
			Dir       string `yaml:"dir" config:"path"`
			Replicate string `yaml:"replicate"`
		}
		keys.Dir = c.State.Dir
		l.decode(n, reflect.ValueOf(&keys).Elem())
		c.State.Dir, c.State.Replicate.URL = keys.Dir, keys.Replicate
	}
	r := c.State.Replicate
	if r == nil || l.unknown[at] {
		return
	}
	if at.kind == mapNode {
		if l.need(at, "url", "write url: s3://bucket/prefix?endpoint=https://host"); at.find("url") == nil {
			return
		}
		at = at.child("url")
	}
	if !l.unknown[at] && !strings.HasPrefix(r.URL, "s3://") {
		l.add(at.line, at.col, CodeBadValue, "write s3://bucket/prefix?endpoint=https://host", "%q is not a place in an object store", r.URL)
	}
	if n := n.child("replicate").child("keep"); n != nil && r.Keep < 1 {
		l.add(n.line, n.col, CodeBadValue, "write 1 or more", "%d copies can't be kept", r.Keep)
	}
	if n := n.child("replicate").child("every"); n != nil && r.Every < unit.Duration(time.Second) {
		l.add(n.line, n.col, CodeBadValue, "write 1s or more", "copies can't be made every %v", r.Every)
	}
	if r.Key.IsZero() != r.Secret.IsZero() {
		l.add(at.line, at.col, CodeBadValue, "write both access_key_id and secret_access_key, or neither", "of the key and its secret, one is missing")
	}
}
