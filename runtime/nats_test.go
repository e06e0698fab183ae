package runtime_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cdcd-io/cdcd/runtime"
)

// What pipelines write to is kept from everybody else, whatever their streams
// and subjects are called; and no secret is printed with the rest.
func TestNATSConfig(t *testing.T) {
	const source = `{mysql: {dsn: "mysql://u:p@h:3306", tables: [shop.orders]}}`
	pipelines := fmt.Sprintf(`
version: 1
pipelines:
  shop: {source: %[1]s, sink: {jetstream: {stream: SHOP}}}
  other: {source: %[1]s, sink: {jetstream: {stream: OTHER, on_too_large: claim_check, subject: "own.{pipeline}.{db}.{table}"}}}
  rows: {source: %[1]s, sink: {kv: {bucket: rows, dead_letters: {stream: false}}}}
  out: {source: %[1]s, sink: stdout}
state: {dir: %[2]s}
`, source, t.TempDir())
	n := runtime.NATSConfig(parse(t, pipelines+`
nats: {embedded: {listen: "0.0.0.0:4222", token: s3cret, users: [{user: a, password: s3cret, subjects: [cdc.shop.>]}], tls: {cert: c, key: s3cret, ca: a}}}
`), nil)
	if diff := cmp.Diff([]string{"SHOP", "SHOP_DLQ", "OTHER", "OTHER_DLQ", "OBJ_OTHER_CLAIMS", "KV_rows"}, n.Access.Streams); diff != "" {
		t.Errorf("streams:\n%s", diff)
	}
	for _, subject := range []string{"own.other.>", "$O.OTHER_CLAIMS.>", "cdc.shop.>", "cdcd_dlq.shop.>", "$KV.rows.>", "cdc._kv.rows.>"} {
		if !slices.Contains(n.Access.Subjects, subject) {
			t.Errorf("anybody may publish to %s: %v", subject, n.Access.Subjects)
		}
	}
	if len(n.Access.Users) != 1 || n.Access.Users[0].Name != "a" || n.Access.Token.Reveal() != "s3cret" || n.TLS.Cert != "c" || n.TLS.CA != "a" || n.ListenElse || n.URL != "" {
		t.Errorf("%+v", n)
	}
	external := runtime.NATSConfig(parse(t, pipelines+`
nats: {url: ["nats://a:4222", "nats://b:4222"], user: u, password: s3cret, tls: {cert: c, key: s3cret, ca: a, server_name: n}}
`), nil)
	if external.URL != "nats://a:4222,nats://b:4222" || external.Login.User != "u" || external.Login.Password.Reveal() != "s3cret" || external.TLS.ServerName != "n" || external.Listen != "" {
		t.Errorf("%+v", external)
	}
	for _, c := range []any{n, external} {
		for _, form := range []string{"%v", "%+v", "%#v"} {
			if text := fmt.Sprintf(form, c); strings.Contains(text, "s3cret") {
				t.Errorf("%s prints a secret: %s", form, text)
			}
		}
	}
}
