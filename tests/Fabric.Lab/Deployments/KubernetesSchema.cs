using System.Text.Json;
using System.Text.Json.Nodes;

namespace Fabric.Lab.Deployments;

/// <summary>
/// The fields of the kinds that the base uses, as the API reference of Kubernetes 1.20 to 1.32 has them, checked strictly: what is
/// unknown, missing or of another type is an error, as for an API server with fieldValidation=Strict.
/// </summary>
internal static class KubernetesSchema
{
    // NAME: field:type ..., with ! for what must be there, [] for a list, {} for a map of strings, a|b for a choice.
    private const string Text = """
        Meta: name:string! namespace:string labels:string{} annotations:string{}
        Namespace: apiVersion:string! kind:string! metadata:Meta!
        ServiceAccount: apiVersion:string! kind:string! metadata:Meta! automountServiceAccountToken:bool imagePullSecrets:NameRef[] secrets:NameRef[]
        NameRef: name:string!
        ConfigMap: apiVersion:string! kind:string! metadata:Meta! data:string{} binaryData:string{} immutable:bool
        Role: apiVersion:string! kind:string! metadata:Meta! rules:Rule[]!
        Rule: apiGroups:string[] resources:string[] resourceNames:string[] verbs:string[]! nonResourceURLs:string[]
        DaemonSet: apiVersion:string! kind:string! metadata:Meta! spec:DaemonSetSpec!
        DaemonSetSpec: selector:Selector! template:PodTemplate! updateStrategy:UpdateStrategy minReadySeconds:int revisionHistoryLimit:int
        Selector: matchLabels:string{} matchExpressions:MatchExpression[]
        MatchExpression: key:string! operator:In|NotIn|Exists|DoesNotExist! values:string[]
        UpdateStrategy: type:RollingUpdate|OnDelete rollingUpdate:RollingUpdate
        RollingUpdate: maxUnavailable:quantity maxSurge:quantity
        PodTemplate: metadata:PodMeta spec:Pod!
        PodMeta: labels:string{} annotations:string{} name:string
        Pod: containers:Container[]! initContainers:Container[] volumes:Volume[] nodeSelector:string{} serviceAccountName:string automountServiceAccountToken:bool hostNetwork:bool hostPID:bool hostIPC:bool dnsPolicy:ClusterFirstWithHostNet|ClusterFirst|Default|None terminationGracePeriodSeconds:int priorityClassName:string restartPolicy:Always|OnFailure|Never tolerations:Toleration[] securityContext:PodSecurity shareProcessNamespace:bool
        Toleration: key:string operator:Exists|Equal value:string effect:NoSchedule|PreferNoSchedule|NoExecute tolerationSeconds:int
        PodSecurity: runAsUser:int runAsGroup:int runAsNonRoot:bool fsGroup:int seccompProfile:Seccomp
        Container: name:string! image:string! imagePullPolicy:Always|IfNotPresent|Never command:string[] args:string[] workingDir:string env:EnvVar[] ports:Port[] startupProbe:Probe livenessProbe:Probe readinessProbe:Probe resources:Resources securityContext:Security volumeMounts:Mount[]
        EnvVar: name:string! value:string
        Port: name:string containerPort:int! hostPort:int hostIP:string protocol:TCP|UDP|SCTP
        Probe: httpGet:HttpGet exec:Exec periodSeconds:int timeoutSeconds:int failureThreshold:int successThreshold:int initialDelaySeconds:int
        HttpGet: host:string path:string port:quantity! scheme:HTTP|HTTPS
        Exec: command:string[]!
        Resources: requests:quantity{} limits:quantity{}
        Security: runAsUser:int runAsGroup:int runAsNonRoot:bool privileged:bool allowPrivilegeEscalation:bool readOnlyRootFilesystem:bool capabilities:Capabilities seccompProfile:Seccomp
        Capabilities: add:string[] drop:string[]
        Seccomp: type:RuntimeDefault|Localhost|Unconfined! localhostProfile:string
        Mount: name:string! mountPath:string! readOnly:bool subPath:string
        Volume: name:string! configMap:ConfigMapVolume hostPath:HostPath emptyDir:EmptyDir
        ConfigMapVolume: name:string! optional:bool defaultMode:int
        HostPath: path:string! type:DirectoryOrCreate|Directory|FileOrCreate|File|Socket|CharDevice|BlockDevice
        EmptyDir: medium:Memory sizeLimit:quantity
        """;

    private static readonly Dictionary<string, Field[]> Shapes = Text.Split('\n', StringSplitOptions.RemoveEmptyEntries)
        .Select(line => line.Split(": ", 2))
        .ToDictionary(l => l[0].Trim(), l => l[1].Split(' ', StringSplitOptions.RemoveEmptyEntries).Select(Field.Parse).ToArray());

    /// <summary>Every error of the object, with its path; none when it is right.</summary>
    public static IReadOnlyList<string> Check(JsonObject value, string kind)
    {
        var errors = new List<string>();
        CheckObject(value, kind, kind, errors);
        return errors;
    }

    private static void CheckObject(JsonNode? value, string shape, string path, List<string> errors)
    {
        if (value is not JsonObject of)
        {
            errors.Add($"{path}: expected an object, got {value?.ToJsonString() ?? "null"}");
            return;
        }

        var fields = Shapes[shape];
        errors.AddRange(of.Where(p => fields.All(f => f.Name != p.Key)).Select(p => $"unknown field \"{path}.{p.Key}\""));
        errors.AddRange(fields.Where(f => f.Needed && of[f.Name] is null).Select(f => $"missing field \"{path}.{f.Name}\""));
        foreach (var field in fields.Where(f => of[f.Name] is not null))
        {
            CheckField(of[field.Name]!, field, $"{path}.{field.Name}", errors);
        }
    }

    private static void CheckField(JsonNode value, Field field, string path, List<string> errors)
    {
        switch (field.Shape)
        {
            case '[' when value is JsonArray list:
                for (var i = 0; i < list.Count; i++)
                {
                    CheckOne(list[i], field.Type, $"{path}[{i}]", errors);
                }

                break;
            case '{' when value is JsonObject map:
                foreach (var (key, item) in map)
                {
                    CheckOne(item, field.Type, $"{path}[{key}]", errors);
                }

                break;
            case ' ':
                CheckOne(value, field.Type, path, errors);
                break;
            default:
                errors.Add($"{path}: expected a {(field.Shape == '[' ? "list" : "map")}, got {value.ToJsonString()}");
                break;
        }
    }

    private static void CheckOne(JsonNode? value, string type, string path, List<string> errors)
    {
        if (Shapes.ContainsKey(type))
        {
            CheckObject(value, type, path, errors);
            return;
        }

        var kind = value?.GetValueKind() ?? JsonValueKind.Null;
        var right = type switch
        {
            "string" => kind == JsonValueKind.String,
            "bool" => kind is JsonValueKind.True or JsonValueKind.False,
            "int" => kind == JsonValueKind.Number,
            "quantity" => kind is JsonValueKind.Number or JsonValueKind.String,
            _ => kind == JsonValueKind.String && type.Split('|').Contains((string)value!),
        };
        if (!right)
        {
            errors.Add($"{path}: expected {type}, got {value?.ToJsonString() ?? "null"}");
        }
    }

    private sealed record Field(string Name, string Type, char Shape, bool Needed)
    {
        public static Field Parse(string text)
        {
            var needed = text.EndsWith('!');
            var parts = text.TrimEnd('!').Split(':', 2);
            var shape = parts[1].EndsWith("[]", StringComparison.Ordinal) ? '[' : parts[1].EndsWith("{}", StringComparison.Ordinal) ? '{' : ' ';
            return new Field(parts[0], shape == ' ' ? parts[1] : parts[1][..^2], shape, needed);
        }
    }
}
