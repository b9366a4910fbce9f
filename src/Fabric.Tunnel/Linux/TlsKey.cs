using System.Buffers.Binary;
using System.Security.Cryptography;
using System.Text;
using static Fabric.Tunnel.Linux.Libssl;

namespace Fabric.Tunnel.Linux;

/// <summary>
/// The key of one direction of a TLS 1.3 connection: protects records (RFC 8446 §5.2 and §5.3), and is followed by the next (§7.2). The
/// cipher is libcrypto's; plaintext and ciphertext pass through it once, from where they are to where they belong.
/// </summary>
internal sealed unsafe class TlsKey : IDisposable
{
    /// <summary>Bytes before the ciphertext: type, version, length.</summary>
    public const int Header = 5;

    public const int Tag = 16;

    /// <summary>Plaintext in a record at most, bytes (RFC 8446 §5.1).</summary>
    public const int MaxContent = 16 * 1024;

    /// <summary>What a record has besides: header, content type and tag, bytes.</summary>
    public const int Overhead = Header + 1 + Tag;

    /// <summary>
    /// What follows a record's header at most, bytes: content and padding are bounded together, and both ciphers add a tag and no more (RFC
    /// 8446 §5.4).
    /// </summary>
    public const int MaxCiphertext = MaxContent + 1 + Tag;

    private const int NonceSize = 12;

    private readonly nint _cipher;
    private readonly HashAlgorithmName _hash;
    private readonly bool _seals;
    private readonly byte[] _secret;
    private readonly byte[] _nonce = GC.AllocateArray<byte>(NonceSize, pinned: true);
    private nint _context;
    private ulong _sequence;

    /// <param name="suite">Of the connection: <see cref="TLS_AES_256_GCM_SHA384"/> or <see cref="TLS_CHACHA20_POLY1305_SHA256"/>.</param>
    /// <param name="secret">The direction's first application traffic secret; it is copied.</param>
    /// <param name="seals">Whether it encrypts; else it decrypts.</param>
    public TlsKey(int suite, ReadOnlySpan<byte> secret, bool seals)
    {
        (_cipher, _hash) = suite switch
        {
            TLS_AES_256_GCM_SHA384 => (EVP_aes_256_gcm(), HashAlgorithmName.SHA384),
            TLS_CHACHA20_POLY1305_SHA256 => (EVP_chacha20_poly1305(), HashAlgorithmName.SHA256),
            _ => throw new CryptographicException($"cipher suite {suite:X4} was not offered"),
        };
        _seals = seals;
        // Pinned: nothing leaves copies of it behind.
        _secret = GC.AllocateArray<byte>(secret.Length, pinned: true);
        secret.CopyTo(_secret);
        _context = TlsLibrary.Require(EVP_CIPHER_CTX_new(), "a cipher");
        Load();
    }

    /// <summary>The next key; the first record under it is number 0.</summary>
    public void Update()
    {
        Expand("traffic upd", _secret);
        Load();
    }

    /// <summary>
    /// Protects one record of that content, at most <see cref="MaxContent"/> bytes. Writes the length of the content and <see cref="Overhead"/>.
    /// </summary>
    public void Seal(ReadOnlySpan<byte> content, byte type, byte* record)
    {
        var length = content.Length + 1 + Tag;
        record[0] = TlsRecordType.ApplicationData;
        record[1] = record[2] = 3;
        record[3] = (byte)(length >> 8);
        record[4] = (byte)length;
        fixed (byte* bytes = content)
        {
            int written;
            var to = record + Header;
            var done = Begin(record)
                && (content.IsEmpty || EVP_CipherUpdate(_context, to, &written, bytes, content.Length) == 1)
                && EVP_CipherUpdateShort(_context, to + content.Length, &written, &type, 1) == 1
                && EVP_CipherFinal_ex(_context, to + content.Length + 1, &written) == 1
                && EVP_CIPHER_CTX_ctrl(_context, EVP_CTRL_AEAD_GET_TAG, Tag, to + content.Length + 1) == 1;
            if (!done)
            {
                throw new CryptographicException($"libcrypto does not encrypt: {TlsLibrary.TakeError()}");
            }
        }
    }

    /// <summary>
    /// Opens a record of that many bytes after its header. False when it is not the peer's next one, whole and unchanged: then nothing
    /// of what was written to <paramref name="content"/> may be looked at.
    /// </summary>
    /// <param name="record">Header and ciphertext.</param>
    /// <param name="length">From <see cref="Tag"/> + 1 to <see cref="MaxCiphertext"/>.</param>
    /// <param name="content">Takes <paramref name="length"/> less <see cref="Tag"/> and 1 bytes: the content, and padding if it has any.</param>
    /// <param name="last">The byte after them: the content's type, or 0 for padding.</param>
    public bool TryOpen(byte* record, int length, byte* content, out byte last)
    {
        int written;
        byte end = 0;
        var from = record + Header;
        var before = length - Tag - 1;
        var good = Begin(record)
            && EVP_CIPHER_CTX_ctrl(_context, EVP_CTRL_AEAD_SET_TAG, Tag, from + before + 1) == 1
            && (before == 0 || EVP_CipherUpdate(_context, content, &written, from, before) == 1)
            && EVP_CipherUpdateShort(_context, &end, &written, from + before, 1) == 1
            && EVP_CipherFinal_ex(_context, &end, &written) == 1;
        last = end;
        return good;
    }

    public void Dispose()
    {
        EVP_CIPHER_CTX_free(_context);
        _context = 0;
        CryptographicOperations.ZeroMemory(_secret);
        CryptographicOperations.ZeroMemory(_nonce);
    }

    /// <summary>The nonce of the next record, and its header as what is authenticated besides.</summary>
    private bool Begin(byte* header)
    {
        var nonce = stackalloc byte[NonceSize];
        _nonce.CopyTo(new Span<byte>(nonce, NonceSize));
        var low = new Span<byte>(nonce + NonceSize - sizeof(ulong), sizeof(ulong));
        BinaryPrimitives.WriteUInt64BigEndian(low, BinaryPrimitives.ReadUInt64BigEndian(low) ^ _sequence++);
        int written;
        return EVP_CipherInit_ex(_context, 0, 0, null, nonce, -1) == 1 && EVP_CipherUpdateShort(_context, null, &written, header, Header) == 1;
    }

    private void Load()
    {
        Span<byte> key = stackalloc byte[32];
        Expand("key", key);
        Expand("iv", _nonce);
        _sequence = 0;
        fixed (byte* bytes = key)
        {
            TlsLibrary.Require(EVP_CipherInit_ex(_context, _cipher, 0, bytes, null, _seals ? 1 : 0), "a key");
        }

        CryptographicOperations.ZeroMemory(key);
    }

    /// <summary>HKDF-Expand-Label without a context (RFC 8446 §7.1).</summary>
    private void Expand(string label, Span<byte> output)
    {
        Span<byte> info = stackalloc byte[2 + 1 + 6 + 16 + 1];
        BinaryPrimitives.WriteUInt16BigEndian(info, (ushort)output.Length);
        info[2] = (byte)(6 + label.Length);
        "tls13 "u8.CopyTo(info[3..]);
        Encoding.ASCII.GetBytes(label, info[9..]);
        info[9 + label.Length] = 0;
        Span<byte> result = stackalloc byte[output.Length];
        HKDF.Expand(_hash, _secret, result, info[..(10 + label.Length)]);
        result.CopyTo(output);
        CryptographicOperations.ZeroMemory(result);
    }
}

/// <summary>What a record carries (RFC 8446 §5.1).</summary>
internal static class TlsRecordType
{
    public const byte Alert = 21;
    public const byte Handshake = 22;
    public const byte ApplicationData = 23;
}
