namespace Fabric.Topology;

/// <summary>Defaults of the mesh that the model keeps in required or derived members.</summary>
public static class FabricDefaults
{
    public const string Domain = "svc.clusterset.local";
}
