package secret

// Get returns the step's secret of the name; ok is false without one. It may be
// called in Init.
func Get(name string) (text string, ok bool) { return get(name) }
