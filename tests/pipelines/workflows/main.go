// Writes the Argo Workflow that KFP makes of a compiled pipeline to standard output, as JSON: the compiler that its
// API server calls, with the platform's part, which KFP's own command leaves out. Run within KFP's source.
package main

import (
	"encoding/json"
	"os"

	"github.com/kubeflow/pipelines/api/v2alpha1/go/pipelinespec"
	"github.com/kubeflow/pipelines/backend/src/apiserver/config/proxy"
	"github.com/kubeflow/pipelines/backend/src/v2/compiler/argocompiler"
	"google.golang.org/protobuf/encoding/protojson"
)

// The arguments are two files of JSON: a PipelineJob and a PlatformSpec.
func main() {
	proxy.InitializeConfig("", "", "")
	job, platform := &pipelinespec.PipelineJob{}, &pipelinespec.PlatformSpec{}
	read(os.Args[1], func(content []byte) error { return protojson.Unmarshal(content, job) })
	read(os.Args[2], func(content []byte) error { return protojson.Unmarshal(content, platform) })
	workflow, err := argocompiler.Compile(job, platform.Platforms["kubernetes"], &argocompiler.Options{})
	require(err)
	require(json.NewEncoder(os.Stdout).Encode(workflow))
}

func read(file string, parse func([]byte) error) {
	content, err := os.ReadFile(file)
	require(err)
	require(parse(content))
}

func require(err error) {
	if err != nil {
		panic(err)
	}
}
