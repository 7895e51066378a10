//! Audio as a file that a person can listen to.

use std::io::Cursor;

use hound::{SampleFormat, WavSpec, WavWriter};

use crate::doubles::tones::SAMPLE_RATE_HZ;

/// 16-bit little-endian mono PCM at 16 kHz as a WAV file.
///
/// # Errors
/// When there is more than a WAV file can hold.
pub fn wav(pcm: &[u8]) -> Result<Vec<u8>, hound::Error> {
    let spec = WavSpec {
        channels: 1,
        sample_rate: SAMPLE_RATE_HZ,
        bits_per_sample: 16,
        sample_format: SampleFormat::Int,
    };
    let mut file = Cursor::new(Vec::new());
    let mut writer = WavWriter::new(&mut file, spec)?;
    for pair in pcm.chunks_exact(2) {
        writer.write_sample(i16::from_le_bytes([pair[0], pair[1]]))?;
    }
    writer.finalize()?;
    Ok(file.into_inner())
}

#[cfg(test)]
mod tests {
    use hound::WavReader;

    use super::*;
    use crate::doubles::tones;

    #[test]
    fn what_is_written_is_read_again() {
        let pcm = tones::speak("tea");
        let file = wav(&pcm).unwrap();
        let mut reader = WavReader::new(file.as_slice()).unwrap();
        assert_eq!(reader.spec().sample_rate, 16_000);
        let samples = reader.samples::<i16>().map(Result::unwrap);
        let read: Vec<u8> = samples.flat_map(i16::to_le_bytes).collect();
        assert_eq!(tones::hear(&read), "tea");
        assert_eq!(read, pcm);
    }
}
