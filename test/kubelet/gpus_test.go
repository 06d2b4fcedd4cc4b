// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package kubelet

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	plugin "k8s.io/kubelet/pkg/apis/deviceplugin/v1beta1"
)

// gpuCount is how many GPUs the node says it has.
const gpuCount = 2

// gpuSocket is beside the kubelet's own.
const gpuSocket = "gpus.sock"

// gpus is a device plugin, as the vendor's, of devices that no machine of ours needs to have:
// pods are given them, and find nothing.
type gpus struct {
	plugin.UnimplementedDevicePluginServer
	server *grpc.Server
}

// register serves, and tells the kubelet so. A kubelet that starts forgets all plugins, and
// removes their sockets.
func (g *gpus) register(ctx context.Context) error {
	if g.server != nil {
		g.server.Stop()
	}
	socket := filepath.Join(plugin.DevicePluginPath, gpuSocket)
	if err := os.RemoveAll(socket); err != nil {
		return err
	}
	listener, err := net.Listen("unix", socket)
	if err != nil {
		return err
	}
	g.server = grpc.NewServer()
	plugin.RegisterDevicePluginServer(g.server, g)
	go func(server *grpc.Server) { _ = server.Serve(listener) }(g.server) // until Stop
	connection, err := grpc.NewClient("unix://"+plugin.KubeletSocket, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	defer func() { _ = connection.Close() }()
	_, err = plugin.NewRegistrationClient(connection).Register(ctx, &plugin.RegisterRequest{
		Version: plugin.Version, Endpoint: gpuSocket, ResourceName: "nvidia.com/gpu",
	})
	return err
}

// GetDevicePluginOptions asks for no calls beside those below.
func (*gpus) GetDevicePluginOptions(context.Context, *plugin.Empty) (*plugin.DevicePluginOptions, error) {
	return &plugin.DevicePluginOptions{}, nil
}

// ListAndWatch tells of devices that never change.
func (*gpus) ListAndWatch(_ *plugin.Empty, stream plugin.DevicePlugin_ListAndWatchServer) error {
	var devices []*plugin.Device
	for i := range gpuCount {
		devices = append(devices, &plugin.Device{ID: fmt.Sprint("gpu-", i), Health: plugin.Healthy})
	}
	if err := stream.Send(&plugin.ListAndWatchResponse{Devices: devices}); err != nil {
		return err
	}
	<-stream.Context().Done()
	return nil
}

// Allocate gives a container its devices by their names.
func (*gpus) Allocate(_ context.Context, request *plugin.AllocateRequest) (*plugin.AllocateResponse, error) {
	response := &plugin.AllocateResponse{}
	for range request.ContainerRequests {
		response.ContainerResponses = append(response.ContainerResponses, &plugin.ContainerAllocateResponse{})
	}
	return response, nil
}
