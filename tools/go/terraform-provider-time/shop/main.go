// Command shop is a provider of Terraform, for tests: it keeps things of a small HTTP service.
//
// What it has made can drift, which nothing can that Terraform has built in.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log"
	"net/http"
	"time"

	"github.com/hashicorp/terraform-plugin-framework/datasource"
	"github.com/hashicorp/terraform-plugin-framework/provider"
	"github.com/hashicorp/terraform-plugin-framework/providerserver"
	"github.com/hashicorp/terraform-plugin-framework/resource"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema/planmodifier"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema/stringplanmodifier"
	"github.com/hashicorp/terraform-plugin-framework/types"
)

const pause = 100 * time.Millisecond

type shop struct{}

func (shop) Metadata(_ context.Context, _ provider.MetadataRequest, answer *provider.MetadataResponse) {
	answer.TypeName = "shop"
}

func (shop) Schema(context.Context, provider.SchemaRequest, *provider.SchemaResponse) {}

func (shop) Configure(context.Context, provider.ConfigureRequest, *provider.ConfigureResponse) {}

func (shop) DataSources(context.Context) []func() datasource.DataSource { return nil }

func (shop) Resources(context.Context) []func() resource.Resource {
	return []func() resource.Resource{func() resource.Resource { return object{} }}
}

// object is a thing of the service: a name in a space, and texts by name.
type object struct{}

type values struct {
	Space   types.String `tfsdk:"space"`
	Name    types.String `tfsdk:"name"`
	Data    types.Map    `tfsdk:"data"`
	WaitFor types.String `tfsdk:"wait_for"`
}

func (object) Metadata(_ context.Context, _ resource.MetadataRequest, answer *resource.MetadataResponse) {
	answer.TypeName = "shop_object"
}

func (object) Schema(_ context.Context, _ resource.SchemaRequest, answer *resource.SchemaResponse) {
	replaced := []planmodifier.String{stringplanmodifier.RequiresReplace()}
	answer.Schema = schema.Schema{Attributes: map[string]schema.Attribute{
		"space":    schema.StringAttribute{Required: true, PlanModifiers: replaced},
		"name":     schema.StringAttribute{Required: true, PlanModifiers: replaced},
		"data":     schema.MapAttribute{Required: true, ElementType: types.StringType},
		"wait_for": schema.StringAttribute{Optional: true},
	}}
}

func (object) Create(ctx context.Context, request resource.CreateRequest, answer *resource.CreateResponse) {
	var wanted values
	answer.Diagnostics.Append(request.Plan.Get(ctx, &wanted)...)
	if err := wanted.put(ctx); err != nil {
		answer.Diagnostics.AddError("the object cannot be made", err.Error())
		return
	}
	answer.Diagnostics.Append(answer.State.Set(ctx, &wanted)...)
}

func (object) Update(ctx context.Context, request resource.UpdateRequest, answer *resource.UpdateResponse) {
	var wanted values
	answer.Diagnostics.Append(request.Plan.Get(ctx, &wanted)...)
	if err := wanted.put(ctx); err != nil {
		answer.Diagnostics.AddError("the object cannot be changed", err.Error())
		return
	}
	answer.Diagnostics.Append(answer.State.Set(ctx, &wanted)...)
}

func (object) Read(ctx context.Context, request resource.ReadRequest, answer *resource.ReadResponse) {
	var known values
	answer.Diagnostics.Append(request.State.Get(ctx, &known)...)
	objects, err := list(known.Space.ValueString())
	if err != nil {
		answer.Diagnostics.AddError("the objects cannot be read", err.Error())
		return
	}
	texts, is := objects[known.Name.ValueString()]
	if !is {
		answer.State.RemoveResource(ctx)
		return
	}
	data, problems := types.MapValueFrom(ctx, types.StringType, texts)
	answer.Diagnostics.Append(problems...)
	known.Data = data
	answer.Diagnostics.Append(answer.State.Set(ctx, &known)...)
}

func (object) Delete(ctx context.Context, request resource.DeleteRequest, answer *resource.DeleteResponse) {
	var known values
	answer.Diagnostics.Append(request.State.Get(ctx, &known)...)
	if err := send(http.MethodDelete, known.url(), nil); err != nil {
		answer.Diagnostics.AddError("the object cannot be deleted", err.Error())
	}
}

func (v values) url() string { return v.Space.ValueString() + "/" + v.Name.ValueString() }

// put writes the object, and waits for another one where it shall.
func (v values) put(ctx context.Context) error {
	texts := map[string]string{}
	v.Data.ElementsAs(ctx, &texts, false)
	if err := send(http.MethodPut, v.url(), texts); err != nil {
		return err
	}
	for awaited := v.WaitFor.ValueString(); awaited != ""; {
		objects, err := list(v.Space.ValueString())
		if err != nil {
			return err
		}
		if _, is := objects[awaited]; is {
			break
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(pause):
		}
	}
	return nil
}

func list(space string) (map[string]map[string]string, error) {
	answer, err := http.Get(space)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	objects := map[string]map[string]string{}
	return objects, json.NewDecoder(answer.Body).Decode(&objects)
}

func send(method, url string, body any) error {
	data, err := json.Marshal(body)
	if err != nil {
		return err
	}
	request, err := http.NewRequest(method, url, bytes.NewReader(data))
	if err != nil {
		return err
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if answer.StatusCode >= http.StatusBadRequest {
		return fmt.Errorf("%s %s: %s", method, url, answer.Status)
	}
	return nil
}

func main() {
	options := providerserver.ServeOpts{Address: "bond.test/tests/shop"}
	err := providerserver.Serve(context.Background(), func() provider.Provider { return shop{} }, options)
	if err != nil {
		log.Fatal(err)
	}
}
