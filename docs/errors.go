package docs

import (
	_ "embed" // for the page
	"strings"
)

//go:embed errors.md
var errorsPage string

// Explanation is what the page of errors says of one code.
type Explanation struct {
	Code    string `json:"code"`
	Class   string `json:"class"`
	Meaning string `json:"meaning"`
	WayOut  string `json:"way_out"`
}

// Errors returns the page of errors, code by code, in the order of the page:
// each is a heading "### code", a paragraph that begins with the class in
// asterisks, and one that begins with "Way out:".
func Errors() []Explanation {
	sections := strings.Split(errorsPage, "\n### ")
	all := make([]Explanation, 0, len(sections))
	for _, s := range sections[1:] {
		s, _, _ = strings.Cut(s, "\n## ")
		code, text, _ := strings.Cut(s, "\n")
		meaning, wayOut, _ := strings.Cut(text, "Way out:")
		class, meaning, _ := strings.Cut(strings.TrimSpace(meaning), "*: ")
		all = append(all, Explanation{
			Code: strings.TrimSpace(code), Class: strings.TrimPrefix(class, "*"),
			Meaning: unwrap(meaning), WayOut: unwrap(wayOut),
		})
	}
	return all
}

// unwrap joins the lines of each paragraph.
func unwrap(s string) string {
	paragraphs := strings.Split(strings.TrimSpace(s), "\n\n")
	for i, p := range paragraphs {
		paragraphs[i] = strings.Join(strings.Fields(p), " ")
	}
	return strings.Join(paragraphs, "\n\n")
}
