package main

import (
	"context"
	"fmt"
	"net/http"
	"net/url"

	witness "github.com/transparency-dev/witness/client/http"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// feed has the witness at an address cosign every older checkpoint and then the newest, with transparency-dev's client,
// and verifies each cosignature. It gives how many there were.
func feed(proofs tlog.HashReader, trusted keys, asked question, newest []byte) (int, error) {
	if asked.Feed.URL == "" {
		return 0, nil
	}
	address, err := url.Parse(asked.Feed.URL + "/")
	if err != nil {
		return 0, err
	}
	cosigner, err := readKeys(question{LogKey: asked.LogKey, Witnesses: []string{asked.Feed.Witness}})
	if err != nil {
		return 0, err
	}
	fed, size := 0, int64(0)
	to := witness.NewWitness(address, &http.Client{Timeout: timeout})
	for _, text := range append(asked.Older, string(newest)) {
		tree, _, err := trusted.openCheckpoint([]byte(text))
		if err != nil {
			return fed, err
		}
		var path [][]byte
		if size > 0 {
			grown, err := tlog.ProveTree(tree.N, size, proofs)
			if err != nil {
				return fed, err
			}
			for _, hash := range grown {
				path = append(path, hash[:])
			}
		}
		line, _, err := to.Update(context.Background(), uint64(size), []byte(text), path)
		if err != nil {
			return fed, fmt.Errorf("the witness about size %d: %w", tree.N, err)
		}
		opened, err := note.Open(append([]byte(text), line...), cosigner.all)
		if err != nil {
			return fed, err
		}
		if len(opened.Sigs) != 2 {
			return fed, fmt.Errorf("the witness has not cosigned size %d", tree.N)
		}
		fed, size = fed+1, tree.N
	}
	return fed, nil
}
