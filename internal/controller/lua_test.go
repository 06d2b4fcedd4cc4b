// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package controller_test

import (
	"context"
	"os"
	"path/filepath"
	"time"

	. "github.com/onsi/gomega"
	lua "github.com/yuin/gopher-lua"
)

// healthScript is config/gitops/argocd/health.lua.
func healthScript() string {
	script, err := os.ReadFile(filepath.Join("..", "..", "config", "gitops", "argocd", "health.lua"))
	Expect(err).NotTo(HaveOccurred())
	return string(script)
}

// argoHealth runs a health check as Argo CD does, with its interpreter, the libraries that
// it opens for a script (base and table) and its limit of a second. It returns
// "status: message".
func argoHealth(g Gomega, script string, object map[string]any) string {
	state := lua.NewState(lua.Options{SkipOpenLibs: true})
	defer state.Close()
	for name, open := range map[string]lua.LGFunction{lua.BaseLibName: lua.OpenBase, lua.TabLibName: lua.OpenTable} {
		g.Expect(state.CallByParam(lua.P{Fn: state.NewFunction(open), Protect: true}, lua.LString(name))).To(Succeed())
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	state.SetContext(ctx)
	state.SetGlobal("obj", luaValue(state, object))
	g.Expect(state.DoString(script)).To(Succeed())
	result, ok := state.Get(-1).(*lua.LTable)
	g.Expect(ok).To(BeTrue(), "the script returns %s, not a table", state.Get(-1).Type())
	return lua.LVAsString(result.RawGetString("status")) + ": " + lua.LVAsString(result.RawGetString("message"))
}

// luaValue converts what JSON can hold.
func luaValue(state *lua.LState, value any) lua.LValue {
	switch v := value.(type) {
	case map[string]any:
		table := state.NewTable()
		for key, element := range v {
			table.RawSetString(key, luaValue(state, element))
		}
		return table
	case []any:
		table := state.NewTable()
		for _, element := range v {
			table.Append(luaValue(state, element))
		}
		return table
	case string:
		return lua.LString(v)
	case bool:
		return lua.LBool(v)
	case int64:
		return lua.LNumber(v)
	case float64:
		return lua.LNumber(v)
	}
	return lua.LNil
}
