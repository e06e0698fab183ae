//go:build !wasip1

package secret

var secrets = map[string]string{}

// Set gives the connector a secret. It exists outside WebAssembly only, for tests.
func Set(name, text string) { secrets[name] = text }

func get(name string) (string, bool) {
	text, ok := secrets[name]
	return text, ok
}
