package engine

import (
	"encoding/json"
	"fmt"

	"github.com/towpath/towpath/internal/actioncache"
	"github.com/towpath/towpath/internal/digest"
	"github.com/towpath/towpath/internal/plan"
)

// References returns what a result in the action cache refers to: files, and directories with all that is in them. An error means that the result
// cannot be read, and is as good as none.
func References(kind actioncache.Kind, value []byte) (files, directories []digest.Digest, err error) {
	if kind == actioncache.Step {
		var rec stepRecord
		if err := json.Unmarshal(value, &rec); err != nil {
			return nil, nil, fmt.Errorf("read the result of a step: %w", err)
		}
		return []digest.Digest{rec.Stdout, rec.Stderr}, []digest.Digest{rec.Root}, nil
	}
	rec, err := decodeStage(value)
	if err != nil {
		return nil, nil, fmt.Errorf("read the result of a stage: %w", err)
	}
	artifacts, err := plan.Artifacts(rec.Value)
	if err != nil {
		return nil, nil, fmt.Errorf("read the result of a stage: %w", err)
	}
	for _, a := range artifacts {
		if a.Directory {
			directories = append(directories, a.Digest)
		} else {
			files = append(files, a.Digest)
		}
	}
	return files, directories, nil
}
