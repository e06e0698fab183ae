package config

import (
	"encoding/json"
	"reflect"

	"github.com/cdcd-io/cdcd/internal/unit"
)

// Schema returns the JSON Schema of a configuration file with the given kinds,
// for editors that check and complete YAML by it.
func Schema(o Options) []byte {
	w := &schemaWriter{formats: o.Formats}
	name := object{"type": "string", "pattern": nameForm.String()}
	step := w.structSchema(reflect.TypeFor[stepKeys](), reflect.ValueOf(stepKeys{OnError: OnErrorHalt}), "wasm")
	step["properties"].(object)["on_error"].(object)["enum"] = []OnError{OnErrorHalt, OnErrorDeadLetter, OnErrorSkip}
	pipeline := object{
		"type": "object", "additionalProperties": false, "required": []string{"source", "sink"},
		"properties": object{
			"source": w.kindSchema(o.Sources), "sink": w.kindSchema(o.Sinks),
			"steps": object{"type": "array", "items": step}, "schedule": w.scheduleSchema(),
		},
	}
	embedded := w.structSchema(reflect.TypeFor[Embedded](), reflect.ValueOf(*defaultEmbedded()))
	nats := w.structSchema(reflect.TypeFor[natsKeys](), reflect.ValueOf(natsKeys{}))
	nats["properties"].(object)["embedded"] = embedded
	state := w.structSchema(reflect.TypeFor[State](), reflect.ValueOf(State{Dir: DefaultStateDir}))
	replicate := w.structSchema(reflect.TypeFor[Replicate](), reflect.ValueOf(*defaultReplicate()), "url")
	about := state["properties"].(object)["replicate"].(object)["description"]
	state["properties"].(object)["replicate"] = object{"description": about, "anyOf": []object{{"type": "string"}, replicate, {"type": "null"}}}
	schema := object{
		"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "cdcd configuration",
		"type": "object", "additionalProperties": false, "required": []string{"version", "pipelines"},
		"properties": object{
			"version":   object{"const": 1},
			"pipelines": object{"type": "object", "minProperties": 1, "propertyNames": name, "additionalProperties": pipeline},
			"tests": object{"type": "array", "items": object{
				"type": "object", "additionalProperties": false, "required": []string{"name", "pipeline", "given"},
				"properties": object{
					"name": object{"type": "string"}, "pipeline": name,
					"given":  object{"type": "array", "items": w.structSchema(reflect.TypeFor[TestRow](), reflect.ValueOf(TestRow{}))},
					"expect": object{"type": "array", "items": w.structSchema(reflect.TypeFor[TestMessage](), reflect.ValueOf(TestMessage{}))},
				},
			}},
			"server": w.structSchema(reflect.TypeFor[Server](), reflect.ValueOf(Server{Listen: DefaultListen})),
			"state":  state,
			"nats":   object{"anyOf": []object{{"const": "embedded"}, nats}},
			"memory": w.structSchema(reflect.TypeFor[Memory](), reflect.ValueOf(Memory{InFlight: DefaultInFlight, InFlightMin: DefaultInFlightMin})),
		},
	}
	text, _ := json.MarshalIndent(schema, "", "  ") // maps of plain values always marshal
	return append(text, '\n')
}

// scheduleSchema is a schedule alone, or with what belongs to it.
func (w *schemaWriter) scheduleSchema() object {
	keys := w.structSchema(reflect.TypeFor[Schedule](), reflect.ValueOf(Schedule{Overlap: OverlapSkip}), "at")
	keys["properties"].(object)["overlap"].(object)["enum"] = []Overlap{OverlapSkip, OverlapWait}
	return object{"description": "when the pipeline runs, for snapshot: only; always without it", "anyOf": []object{{"type": "string"}, keys}}
}

type object map[string]any

// schemaWriter writes schemas of structs.
type schemaWriter struct{ formats []Kind }

// kindSchema is an object with exactly one of the kinds as its key, or the name
// of a kind that needs no keys.
func (w *schemaWriter) kindSchema(kinds []Kind) object {
	properties := object{}
	var names []string
	for _, k := range kinds {
		v := reflect.ValueOf(k.NewConfig()).Elem()
		properties[k.Name] = orEmpty(w.structSchema(v.Type(), v))
		names = append(names, k.Name)
	}
	return object{"anyOf": []object{
		{"type": "object", "additionalProperties": false, "minProperties": 1, "maxProperties": 1, "properties": properties},
		{"enum": names},
	}}
}

// orEmpty lets a key be written without a value, which keeps its defaults.
func orEmpty(o object) object { return object{"anyOf": []object{o, {"type": "null"}}} }

func (w *schemaWriter) structSchema(t reflect.Type, defaults reflect.Value, required ...string) object {
	properties := object{}
	for _, f := range fieldsOf(t) {
		properties[f.key] = w.fieldSchema(f, defaults.FieldByIndex(f.index))
	}
	o := object{"type": "object", "additionalProperties": false, "properties": properties}
	if len(required) > 0 {
		o["required"] = required
	}
	return o
}

func (w *schemaWriter) fieldSchema(f field, value reflect.Value) object {
	o := w.typeSchema(f.typ, value)
	if f.doc != "" {
		o["description"] = f.doc
	}
	if f.typ == choiceType {
		o["default"] = value.Interface().(unit.Choice).Kind
	} else if value.IsValid() && !value.IsZero() && value.CanInterface() && f.typ != rawType {
		switch f.typ.Kind() {
		case reflect.Struct, reflect.Map, reflect.Pointer:
		default:
			o["default"] = value.Interface()
		}
	}
	return o
}

func (w *schemaWriter) typeSchema(t reflect.Type, value reflect.Value) object {
	switch {
	case t.Kind() == reflect.Pointer:
		return w.typeSchema(t.Elem(), reflect.Zero(t.Elem()))
	case t == rawType:
		return object{"type": "object"}
	case t == choiceType:
		return w.kindSchema(w.formats)
	case t == reflect.TypeFor[unit.Count]():
		return object{"type": []string{"string", "integer"}}
	case reflect.PointerTo(t).Implements(textType) && t.Kind() == reflect.Slice: // a list, or one text for it
		return object{"type": []string{"string", "array"}, "items": object{"type": "string"}}
	case reflect.PointerTo(t).Implements(textType):
		return object{"type": "string"}
	}
	switch t.Kind() {
	case reflect.Struct:
		return w.structSchema(t, value)
	case reflect.Slice:
		return object{"type": "array", "items": w.typeSchema(t.Elem(), reflect.Zero(t.Elem()))}
	case reflect.Map:
		return object{"type": "object", "additionalProperties": w.typeSchema(t.Elem(), reflect.Zero(t.Elem()))}
	case reflect.Bool:
		return object{"type": "boolean"}
	case reflect.String:
		return object{"type": "string"}
	case reflect.Float32, reflect.Float64:
		return object{"type": "number"}
	case reflect.Interface:
		return object{}
	}
	return object{"type": []string{"integer", "string"}, "pattern": `^(\$\{.*\}|[0-9]+)$`}
}
