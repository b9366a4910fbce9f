using System.Globalization;
using System.Text.Json.Nodes;

using Fabric.Lab.Gateways;
using Fabric.Lab.Processes;
using Fabric.Testing;
using Fabric.Topology;
using Fabric.Topology.Model;

namespace Fabric.Lab.Deployments;

/// <summary>The Kustomize base, as a real kubectl renders it and sends it to an API server that checks it.</summary>
public sealed class KubernetesTests : IDisposable
{
    private const string Namespace = "/api/v1/namespaces/fabric-system";
    private const string DaemonSet = "/apis/apps/v1/namespaces/fabric-system/daemonsets/fabricd";
    private const string ConfigMap = $"{Namespace}/configmaps/fabric-topology";
    private const string ServiceAccount = $"{Namespace}/serviceaccounts/fabricd";
    private const string Role = "/apis/rbac.authorization.k8s.io/v1/namespaces/fabric-system/roles/fabric-topology-editor";

    private static readonly string Base = Path.Combine(Programs.Repository, "scripts/kubernetes/base");

    private readonly string _folder = Directory.CreateTempSubdirectory("fabric-kubernetes-").FullName;

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [RequiresFact("kubectl")]
    public async Task A_dry_run_accepts_everything_and_changes_nothing()
    {
        await using var api = await KubernetesApi.Start();
        (await Kubectl(api, "apply", "-f", Path.Combine(Base, "namespace.yaml"))).Checked();
        (await Kubectl(api, "apply", "-k", Base, "--dry-run=server")).Checked();
        Assert.Equal([ConfigMap, ServiceAccount, DaemonSet, Role], api.Dry.Keys.Order(StringComparer.Ordinal));
        Assert.Equal([Namespace], api.Stored.Keys);
    }

    [RequiresFact("kubectl")]
    public async Task Applied_twice_the_second_changes_nothing()
    {
        await using var api = await KubernetesApi.Start();
        var objects = await Applied(api);
        Assert.Equal([Namespace, ConfigMap, ServiceAccount, DaemonSet, Role], objects.Keys.Order(StringComparer.Ordinal));
        var again = (await Kubectl(api, "apply", "-k", Base)).Checked().Output.Split('\n', StringSplitOptions.RemoveEmptyEntries);
        Assert.Equal(5, again.Length);
        Assert.All(again, line => Assert.EndsWith("unchanged", line));
        Assert.Empty(api.Unknown);
    }

    [RequiresFact("kubectl")]
    public async Task A_planted_mistake_is_refused()
    {
        var copy = Copy(daemonset => daemonset.Replace("readOnlyRootFilesystem", "readOnlyRootFilesytem"));
        await using var api = await KubernetesApi.Start();
        var result = await Kubectl(api, "apply", "-k", copy);
        Assert.NotEqual(0, result.ExitCode);
        Assert.Contains("readOnlyRootFilesytem", result.Error);
    }

    [RequiresFact("kubectl")]
    public async Task The_daemon_set_fits_together()
    {
        await using var api = await KubernetesApi.Start();
        var objects = await Applied(api);
        var spec = objects[DaemonSet]["spec"]!;
        var pod = spec["template"]!["spec"]!;
        var container = Assert.Single(Items(pod, "containers"));

        var labels = spec["template"]!["metadata"]!["labels"]!.AsObject();
        var selector = spec["selector"]!["matchLabels"]!.AsObject();
        Assert.NotEmpty(selector);
        Assert.All(selector, l => Assert.Equal((string?)l.Value, (string?)labels[l.Key]));

        // Every mount has its volume and every volume its mount; what they name is there.
        var volumes = Items(pod, "volumes").ToDictionary(v => Text(v, "name"));
        Assert.Equal(volumes.Keys.Order(), Items(container, "volumeMounts").Select(m => Text(m, "name")).Order());
        Assert.Equal(Text(objects[ConfigMap]["metadata"]!, "name"), Text(volumes["topology"]["configMap"]!, "name"));
        var topologyMount = Items(container, "volumeMounts").Single(m => Text(m, "name") == "topology");
        // A subPath would not follow a change of the ConfigMap.
        Assert.Null(topologyMount["subPath"]);
        Assert.Equal(Text(objects[ServiceAccount]["metadata"]!, "name"), Text(pod, "serviceAccountName"));

        // Its arguments point into the mounts.
        var mounts = Items(container, "volumeMounts").Select(m => Text(m, "mountPath")).ToArray();
        var arguments = container["args"]!.AsArray().Select(a => (string)a!).ToArray();
        string After(string option) => arguments[Array.IndexOf(arguments, option) + 1];
        Assert.Contains(After("--topology"), mounts);
        Assert.Contains(After("--state"), mounts);
        Assert.Contains(Path.GetDirectoryName(After("--socket"))!, mounts);

        // Time enough to drain.
        var drain = Items(container, "env").Single(e => Text(e, "name") == "FABRIC_DRAIN_SECONDS");
        Assert.True((int)pod["terminationGracePeriodSeconds"]! >= int.Parse(Text(drain, "value"), CultureInfo.InvariantCulture) + 10);
        Assert.NotEmpty(pod["nodeSelector"]!.AsObject());
    }

    [RequiresFact("kubectl")]
    public async Task The_daemon_accepts_its_arguments()
    {
        await using var api = await KubernetesApi.Start();
        var pod = (await Applied(api))[DaemonSet]["spec"]!["template"]!["spec"]!;
        var arguments = Items(pod, "containers").Single()["args"]!.AsArray().Select(a => (string)a!);
        var programs = Programs.Find();
        // An unknown option is a complaint about it, before anything else.
        string[] command = ["env", $"DOTNET_ROOT={Programs.Environment["DOTNET_ROOT"]}", programs.Fabricd, .. arguments];
        Assert.Equal(0, (await Command.Run([.. command, "--help"])).ExitCode);
        Assert.DoesNotContain("Unrecognized", (await Command.Run([.. command, "--check"])).ToString());
        Assert.Contains("Unrecognized", (await Command.Run([.. command, "--chekc"])).ToString());
    }

    [RequiresFact("kubectl")]
    public async Task Its_powers_are_those_declared()
    {
        await using var api = await KubernetesApi.Start();
        var objects = await Applied(api);
        var pod = objects[DaemonSet]["spec"]!["template"]!["spec"]!;
        var security = Items(pod, "containers").Single()["securityContext"]!;
        Assert.Equal(["ALL"], security["capabilities"]!["drop"]!.AsArray().Select(c => (string)c!));
        Assert.Equal(["NET_ADMIN", "NET_BIND_SERVICE"], security["capabilities"]!["add"]!.AsArray().Select(c => (string)c!));
        Assert.False((bool)security["privileged"]!);
        Assert.False((bool)security["allowPrivilegeEscalation"]!);
        Assert.True((bool)security["readOnlyRootFilesystem"]!);
        Assert.True((bool)security["runAsNonRoot"]!);
        Assert.InRange((int)pod["securityContext"]!["runAsUser"]!, 1, int.MaxValue);
        Assert.Null(security["runAsUser"]);
        Assert.Null(pod["initContainers"]);
        Assert.Equal("RuntimeDefault", Text(security["seccompProfile"]!, "type"));
        Assert.Null(pod["hostPID"]);
        Assert.Null(pod["hostIPC"]);
        // Of the node's files it sees these, and no more.
        Assert.Equal(["/dev/net/tun", "/var/lib/fabric"],
            Items(pod, "volumes").Where(v => v["hostPath"] is not null).Select(v => Text(v["hostPath"]!, "path")).Order(StringComparer.Ordinal));

        // No token of the API server, and no right in it: the only role is for people, and reaches one ConfigMap.
        Assert.False((bool)pod["automountServiceAccountToken"]!);
        Assert.False((bool)objects[ServiceAccount]["automountServiceAccountToken"]!);
        var rules = objects[Role]["rules"]!.AsArray().Select(r => string.Join(' ', Words(r!, "apiGroups"), Words(r!, "resources"), Words(r!, "resourceNames"), Words(r!, "verbs")));
        Assert.Equal([" configmaps fabric-topology get,update,patch", " pods,pods/log  get,list,watch"], rules);
    }

    [RequiresFact("kubectl")]
    public async Task Ports_and_topology_agree_with_the_model()
    {
        await using var api = await KubernetesApi.Start();
        var objects = await Applied(api);
        var data = objects[ConfigMap]["data"]!.AsObject();
        var loaded = TopologyLoader.Load([.. data.Select(d => new TopologyFile(d.Key, (string)d.Value!))]);
        Assert.Empty(loaded.Diagnostics);
        var gateway = loaded.Topology!.Sites.Single(s => s.Name == "cluster").Gateways.Single();

        var container = Items(objects[DaemonSet]["spec"]!["template"]!["spec"]!, "containers").Single();
        var ports = Items(container, "ports").ToDictionary(p => Text(p, "name"));
        Assert.All(ports.Values, p => Assert.Equal((int)p["containerPort"]!, (int)p["hostPort"]!));
        Assert.Equal((gateway.Port, "TCP"), ((int)ports["lanes"]["containerPort"]!, Text(ports["lanes"], "protocol")));
        Assert.Equal((gateway.Port, "UDP"), ((int)ports["probes"]["containerPort"]!, Text(ports["probes"], "protocol")));
        Assert.Equal((new LinkEnd("any", null).WireGuardPort, "UDP"), ((int)ports["wireguard"]["containerPort"]!, Text(ports["wireguard"], "protocol")));
        foreach (var probe in new[] { "startupProbe", "livenessProbe", "readinessProbe" })
        {
            Assert.Equal(gateway.Metrics.Address.ToString(), Text(container[probe]!["httpGet"]!, "host"));
            Assert.Equal(gateway.Metrics.Port, (int)container[probe]!["httpGet"]!["port"]!);
        }
    }

    [RequiresFact("kubectl")]
    public async Task An_overlay_sets_image_and_topology()
    {
        // The lines that the comment of kustomization.yaml shows.
        var shown = File.ReadLines(Path.Combine(Base, "kustomization.yaml")).Where(l => l.StartsWith("#   ", StringComparison.Ordinal)).Select(l => l[4..]).Take(5).ToArray();
        Assert.StartsWith("generatorOptions:", shown[4]);
        if ((await Command.Run(["kubectl", "version", "--client"])).Output.Contains("Minor:\"20\""))
        {
            // Debian 12's kubectl calls bases what has been a resource since 1.21.
            shown = [.. shown.Select(l => l.Replace("resources:", "bases:"))];
        }

        Copy(text => text);
        var overlay = Directory.CreateDirectory(Path.Combine(_folder, "sites", "acme")).FullName;
        await File.WriteAllLinesAsync(Path.Combine(overlay, "kustomization.yaml"), shown);
        await File.WriteAllTextAsync(Path.Combine(overlay, "fabric.yaml"), "fabric: 1\ntrustDomain: other.example\n");
        await using var api = await KubernetesApi.Start();
        (await Kubectl(api, "apply", "-k", overlay)).Checked();
        Assert.Contains("other.example", (string)api.Stored[ConfigMap]["data"]!["fabric.yaml"]!);
        Assert.Equal("registry.acme.example/fabricd:0.1.0", Text(Items(api.Stored[DaemonSet]["spec"]!["template"]!["spec"]!, "containers").Single(), "image"));
        Assert.Equal("fabric-topology", Text(Items(api.Stored[DaemonSet]["spec"]!["template"]!["spec"]!, "volumes").Single(v => Text(v, "name") == "topology")["configMap"]!, "name"));
    }

    private async Task<IReadOnlyDictionary<string, JsonObject>> Applied(KubernetesApi api)
    {
        (await Kubectl(api, "apply", "-k", Base)).Checked();
        return api.Stored;
    }

    // validate=false: the schema is the server's to check, and it does. A kubectl of 1.20 would want it from there as protobuf.
    private Task<CommandResult> Kubectl(KubernetesApi api, params string[] arguments)
    {
        var config = Path.Combine(_folder, "kubeconfig");
        File.WriteAllText(config, $$"""
            apiVersion: v1
            kind: Config
            clusters: [ { name: test, cluster: { server: "{{api.Url}}" } } ]
            contexts: [ { name: test, context: { cluster: test, user: test } } ]
            users: [ { name: test, user: {} } ]
            current-context: test
            """);
        return Command.Run(["env", $"HOME={_folder}", "kubectl", "--kubeconfig", config, "--cache-dir", Path.Combine(_folder, "cache"), .. arguments, "--validate=false"],
            TimeSpan.FromSeconds(60));
    }

    /// <summary>The base in a folder base, its DaemonSet edited.</summary>
    private string Copy(Func<string, string> daemonset)
    {
        var copy = Directory.CreateDirectory(Path.Combine(_folder, "base")).FullName;
        foreach (var file in Directory.GetFiles(Base))
        {
            var text = File.ReadAllText(file);
            File.WriteAllText(Path.Combine(copy, Path.GetFileName(file)), Path.GetFileName(file) == "daemonset.yaml" ? daemonset(text) : text);
        }

        return copy;
    }

    private static IEnumerable<JsonNode> Items(JsonNode of, string name) => (of[name]?.AsArray() ?? []).Select(i => i!);

    private static string Text(JsonNode of, string name) => (string?)of[name] ?? "";

    private static string Words(JsonNode of, string name) => string.Join(',', Items(of, name).Select(i => (string)i!));
}
