using System.Buffers.Binary;
using System.Collections.Immutable;
using System.Net;
using System.Text;
using Fabric.Protocol.Dns;
using Fabric.Topology.Model;

namespace Fabric.Gateway.Dns;

/// <summary>One <see cref="DnsService"/>, compiled: its name, and the answers of its names.</summary>
internal sealed class DnsServiceEntry : IDnsNamed
{
    /// <summary>Longest text of an Extended DNS Error here, in bytes.</summary>
    private const int MaxWhy = 200;

    public required byte[] Labels { get; init; }

    public required int Hash { get; init; }

    /// <summary>Null: it has none of its own.</summary>
    public required IPAddress? Address { get; init; }

    public required DnsAnswerSet Set { get; init; }

    /// <summary>Null: it is ready. Else why not, as the text of an Extended DNS Error.</summary>
    public required byte[]? Absent { get; init; }

    /// <summary>What its names answer when it is not.</summary>
    public required AbsentAnswer AbsentAnswer { get; init; }

    public static byte[] Why(DnsService service)
    {
        var text = Encoding.ASCII.GetBytes(service.Why);
        return text.Length <= MaxWhy ? text : text[..MaxWhy];
    }
}

/// <summary>Compiles services below one domain. Not for concurrent use: it keeps its buffers.</summary>
internal sealed partial class DnsServiceCompiler(DnsName root, DnsZoneOptions options)
{
    private readonly byte[] _scratch = new byte[4096];
    private readonly List<DnsAnswer> _answers = [];
    private readonly byte[] _root = root.Wire.ToArray();
    private byte[] _bytes = new byte[1024];
    private int _length;
    private uint _ttl;

    /// <param name="service">What to compile.</param>
    /// <param name="before">Its entry until now; what still holds is taken from it.</param>
    /// <exception cref="FormatException">A name or a port breaks a rule.</exception>
    public DnsServiceEntry Compile(DnsService service, DnsServiceEntry? before)
    {
        var labels = Labels(service);
        if (labels.Length + _root.Length > DnsLimits.Name)
        {
            throw new FormatException($"DNS name \"{service.FullName}.{root}\" is longer than {DnsLimits.Name} bytes");
        }

        Span<byte> bytes = stackalloc byte[16];
        // Of a headless service, all are of one family: they come out of one range.
        var written = 0;
        (service.ServiceAddress ?? service.Hosts.FirstOrDefault()?.Address)?.TryWriteBytes(bytes, out written);
        ReadOnlySpan<byte> address = bytes[..written];
        _length = 0;
        _ttl = service.Site is null && service.ServiceAddress is not null ? options.Ttl : options.PlaceTtl;
        _answers.Clear();
        AddOwn(service, labels, address);
        foreach (var port in service.Ports)
        {
            AddPort(service, port, labels, address);
        }

        return new DnsServiceEntry
        {
            Labels = before is not null && before.Labels.AsSpan().SequenceEqual(labels) ? before.Labels : labels,
            Hash = DnsNameComparer.Hash(labels),
            Address = service.ServiceAddress,
            Set = new DnsAnswerSet(_bytes[.._length], [.. _answers]),
            Absent = service.Ready ? null : DnsServiceEntry.Why(service),
            AbsentAnswer = options.Absent ?? (service.IsOfHosts ? AbsentAnswer.NxDomain : AbsentAnswer.NoData),
        };
    }

    /// <summary>Its name below the domain, in wire form.</summary>
    /// <exception cref="FormatException">A part of it is no label.</exception>
    public static byte[] Labels(DnsService service) => service switch
    {
        { Site: null } => Label(service.Name, Label(service.Namespace)),
        { Host: null } => Label(service.Name, Label(service.Namespace, Label(service.Site, Label(ServicePlace.SiteLabel)))),
        _ => HostLabels(service.Host, service.Site, service),
    };

    public static byte[] HostLabels(string host, string site, DnsService service) =>
        Label(host, Label(site, Label(service.Name, Label(service.Namespace))));

    /// <summary>A label in wire form, and what comes after it.</summary>
    public static byte[] Label(string label, ReadOnlySpan<byte> after = default, string before = "")
    {
        var length = before.Length + label.Length;
        if (label.Length == 0 || length > DnsLimits.Label || !Ascii.IsValid(label))
        {
            throw new FormatException($"DNS label \"{before}{label}\" must be 1 to {DnsLimits.Label} ASCII characters");
        }

        var bytes = new byte[1 + length + after.Length];
        bytes[0] = (byte)length;
        Encoding.ASCII.GetBytes(before, bytes.AsSpan(1));
        Encoding.ASCII.GetBytes(label, bytes.AsSpan(1 + before.Length));
        after.CopyTo(bytes.AsSpan(1 + length));
        return bytes;
    }

    /// <summary>The service's own name: its address, and what is negotiated at the port of https.</summary>
    private void AddOwn(DnsService service, byte[] labels, ReadOnlySpan<byte> address)
    {
        if (!service.Ready)
        {
            _answers.Add(new DnsAnswer(0, 0, DnsType.None, 0, 0, 0, 0, 0));
            return;
        }

        var start = _length;
        var count = PutAddresses(0, service, address);
        _answers.Add(new DnsAnswer(0, 0, address.Length == 4 ? DnsType.A : DnsType.Aaaa, start, (ushort)(_length - start), (ushort)(_length - start), count, 0));
        AddOwnHttps(service, labels);
    }

    private void AddPort(DnsService service, DnsPort port, byte[] labels, ReadOnlySpan<byte> address)
    {
        if (port.Port is < 1 or > 65535)
        {
            throw new FormatException($"port {port.Port} must be 1 to 65535");
        }

        if (port.Name is not null)
        {
            AddSrv(service, port, labels, Label(port.Name, port.Tcp ? "\x04_tcp"u8 : "\x04_udp"u8, "_"), address);
        }

        AddBindings(service, port, labels);
    }

    private void AddSrv(DnsService service, DnsPort port, byte[] labels, byte[] below, ReadOnlySpan<byte> address)
    {
        var belowStart = PutBelow(below, labels);
        foreach (var answer in _answers)
        {
            if (answer.BelowLength == below.Length && Ascii.EqualsIgnoreCase(_bytes.AsSpan(answer.BelowStart, answer.BelowLength), below))
            {
                throw new FormatException($"port name {port.Name} is there twice for one protocol");
            }
        }

        if (!service.Ready)
        {
            _answers.Add(new DnsAnswer(belowStart, (byte)below.Length, DnsType.None, 0, 0, 0, 0, 0));
            return;
        }

        if (service.ServiceAddress is null)
        {
            AddHostSrv(service, port, below, labels.Length, belowStart);
            return;
        }

        // One target: nothing to weigh, so weight 0; its name is not compressed (RFC 2782).
        var start = _length;
        PutUInt16(DnsHead.PointerTo(0));
        PutHead(DnsType.Srv, _ttl, 6 + labels.Length + _root.Length);
        PutUInt16(0);
        PutUInt16(0);
        PutUInt16((ushort)port.Port);
        Put(labels);
        Put(_root);
        var answerLength = _length - start;
        PutAddress(below.Length, address);
        _answers.Add(new DnsAnswer(belowStart, (byte)below.Length, DnsType.Srv, start, (ushort)answerLength, (ushort)(_length - start), 1, 1));
    }

    private int PutBelow(byte[] below, byte[] labels)
    {
        if (below.Length + labels.Length + _root.Length > DnsLimits.Name)
        {
            throw new FormatException($"the name of a port with {below.Length} bytes makes one longer than {DnsLimits.Name} bytes");
        }

        Put(below);
        return _length - below.Length;
    }

    private void PutAddress(int nameOffset, ReadOnlySpan<byte> address)
    {
        PutUInt16(DnsHead.PointerTo(nameOffset));
        PutAddressData(address);
    }

    /// <summary>A or AAAA, without its owner.</summary>
    private void PutAddressData(ReadOnlySpan<byte> address)
    {
        PutHead(address.Length == 4 ? DnsType.A : DnsType.Aaaa, _ttl, address.Length);
        Put(address);
    }

    private void PutHead(DnsType type, uint ttl, int dataLength)
    {
        Span<byte> bytes = stackalloc byte[DnsHead.Length];
        DnsHead.Write(bytes, type, ttl, dataLength);
        Put(bytes);
    }

    private void PutUInt16(ushort value)
    {
        Span<byte> bytes = stackalloc byte[2];
        BinaryPrimitives.WriteUInt16BigEndian(bytes, value);
        Put(bytes);
    }

    private void Put(ReadOnlySpan<byte> bytes)
    {
        if (_bytes.Length - _length < bytes.Length)
        {
            Array.Resize(ref _bytes, Math.Max(2 * _bytes.Length, _length + bytes.Length));
        }

        bytes.CopyTo(_bytes.AsSpan(_length));
        _length += bytes.Length;
    }
}
