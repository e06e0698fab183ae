package scan

import "testing"

func TestContained(t *testing.T) {
	for where, want := range map[string]bool{
		"":                                  true,
		"id > 100":                          true,
		"(a OR b) AND c IN (1, 2)":          true,
		"a = ')' OR b = '(' OR c = \"()\"":  true,
		"`a)` > 1":                          true,
		`a = '\')' AND (b)`:                 true,
		"a = 'it''s (' AND b":               true,
		"a > 1 -- ( a remark":               true,
		"a > 1 # ) a remark\n AND (b)":      true,
		"a > 1 /* ) */ AND b":               true,
		"a - -1 > (2)":                      true,
		"a--1 > 2":                          true,
		"a) OR (b":                          false,
		"a OR b)":                           false,
		"(a":                                false,
		"a = 'x":                            false,
		"a = 'x\\'":                         false,
		"a /* b":                            false,
		"a /*!50000 ) OR (1 */":             false,
		"a /*M! ) OR (1 */":                 false,
		"a--) OR (b":                        false,
		"a -- \n) OR (b":                    false,
		"(a) -- )\n":                        true,
		"a = `x\\` AND (b = 'the end (') ":  true,
		"a = 'x' ) ORDER BY id LIMIT 1 -- ": false,
	} {
		if got := contained(where); got != want {
			t.Errorf("%q: %v", where, got)
		}
	}
}
